# SPDX-License-Identifier: ISC
"""The end of the demo: what was sent, what became of it, what it cost. Says FAIL where it does not add up."""
import statistics


def count(number):
    return f"{number:,}"


def size(number_of_bytes):
    if number_of_bytes < 10 * 1024:
        return f"{number_of_bytes / 1024:.1f} KiB"
    if number_of_bytes < 1024 * 1024:
        return f"{number_of_bytes / 1024:.0f} KiB"
    return f"{number_of_bytes / 1024 / 1024:.1f} MiB"


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def counted(kind, counts):
    """How often the place where this kind ends was counted. What several kinds share is their sum."""
    if kind.unikernel:
        return counts.refusals[kind.unikernel].get(kind.code, 0)
    return counts.flows[kind.flow][kind.end]


def place(kind):
    return (kind.unikernel, kind.code) if kind.unikernel else (kind.flow, kind.end)


def reconcile(kinds, counts):
    """Every difference between what was sent and what was counted, as a sentence."""
    problems = []
    sent_to = {}
    for kind in kinds:
        sent_to[place(kind)] = sent_to.get(place(kind), 0) + kind.sent
        if counted(kind, counts) != sum(k.sent for k in kinds if place(k) == place(kind)):
            problems.append(f"{kind.name}: {kind.sent} sent, {counted(kind, counts)} counted as {'/'.join(place(kind))}")
    for name, flow in counts.flows.items():
        failed = sum(flow[reason] for reason in counts.failures)
        if name != "alive" and flow["entered"] != flow["done"] + failed:
            problems.append(f"flow {name}: {flow['entered']} entered, {flow['done']} done, {failed} failed")
    for name in {kind.flow for kind in kinds if kind.flow}:
        sent = sum(kind.sent for kind in kinds if kind.flow == name)
        if counts.flows[name]["entered"] != sent:
            problems.append(f"flow {name}: {sent} sent, {counts.flows[name]['entered']} entered")
    expected = {place(kind) for kind in kinds if kind.unikernel}
    for unikernel, codes in counts.refusals.items():
        for code, number in codes.items():
            if number and (unikernel, code) not in expected and code != "malformed-packet":
                problems.append(f"{number} messages refused by {unikernel} as {code} that nobody sent so")
    accepted = sum(kind.sent for kind in kinds if kind.is_accepted)
    read = counts.flows["reading"]
    if read["entered"] != 2 * accepted:
        problems.append(f"{accepted} accepted, but {read['entered']} readings went to the two receivers")
    return problems


def messages(kinds, counts):
    lines = [f"  {'Messages':<32}{'sent':>9}{'accepted':>11}{'refused':>10}   by"]
    for kind in sorted(kinds, key=lambda kind: not kind.is_accepted):
        by = kind.note
        if not kind.is_accepted:
            by = f"{kind.unikernel}: {kind.code}" if kind.unikernel else f"router: {kind.end}"
            if kind.end == "fault":
                by = "the checked copy: fault"
        accepted, refused = (count(kind.sent), "") if kind.is_accepted else ("", count(kind.sent))
        lines.append(f"    {kind.name:<30}{count(kind.sent):>9}{accepted:>11}{refused:>10}   {by}")
    sent = sum(kind.sent for kind in kinds)
    accepted = sum(kind.sent for kind in kinds if kind.is_accepted)
    lines.append(f"    {'all':<30}{count(sent):>9}{count(accepted):>11}{count(sent - accepted):>10}")
    problems = reconcile(kinds, counts)
    if problems:
        lines += ["", "  FAIL: the counts do not reconcile:"] + ["    " + problem for problem in problems]
    else:
        lines += ["", f"  Reconciled: {count(sent)} sent = {count(accepted)} accepted + "
                      f"{count(sent - accepted)} refused, exact in every row."]
    return lines, not problems


def judge_alarms(alarms, windows):
    """(window or None of each alarm, indices of the windows that were hit)"""
    verdicts = []
    for alarm in alarms:
        time = alarm["time"].rstrip("Z")
        verdicts.append(next((n for n, (begin, end) in enumerate(windows) if begin <= time <= end), None))
    return verdicts, {verdict for verdict in verdicts if verdict is not None}


def alarm_lines(alarms, windows):
    verdicts, hit = judge_alarms(alarms, windows)
    false = verdicts.count(None)
    lines = [f"  {'Alarms':<16}{len(hit)} of {len(windows)} labelled failures hit, "
             f"{len(windows) - len(hit)} missed, {false} false"]
    for alarm, verdict in zip(alarms, verdicts):
        where = "false: no failure is labelled here" if verdict is None else \
            f"failure {verdict + 1}, labelled {windows[verdict][0][:16].replace('T', ' ')} to " \
            f"{windows[verdict][1][:16].replace('T', ' ')}"
        lines.append(f"    {alarm['time'][:16].replace('T', ' ')}  {alarm['level']:5.1f} where {alarm['usual']:5.1f} "
                     f"is usual, {alarm['deviations']:.1f} deviations   {where}")
    lines += [f"    missed: failure {number + 1}, {begin} to {end}"
              for number, (begin, end) in enumerate(windows) if number not in hit]
    return lines


def latency_lines(day):
    streamed = len(day.readings) - len(day.latencies)
    return [f"  {'Latency':<16}publish to PUBACK, that is to disk: p50 {percentile(day.latencies, 0.5) * 1e3:.1f} ms, "
            f"p99 {percentile(day.latencies, 0.99) * 1e3:.1f} ms",
            f"  {'':<16}({count(len(day.latencies))} readings one at a time, mean "
            f"{statistics.fmean(day.latencies) * 1e3:.1f} ms, while rig-2 floods)",
            f"  {'Throughput':<16}{count(streamed)} readings acknowledged in {day.stream_s:.1f} s "
            f"({streamed / day.stream_s:,.0f} a second), judged and stored in {day.stored_s:.1f} s "
            f"({streamed / day.stored_s:,.0f} a second):",
            f"  {'':<16}one sensor, in order, a pristine instance for each of three steps"]
