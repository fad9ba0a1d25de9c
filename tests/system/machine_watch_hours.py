# SPDX-License-Identifier: ISC
"""What the hours in the store must be."""
import clients


def hours_of(readings, sensor):
    """What rollup must have stored: (sensor, hour_ms) -> (count, sum, minimum, maximum)."""
    hours = {}
    for _, time, celsius in readings:
        value = int(abs(float(celsius)) * 1000 + 0.5) * (-1 if float(celsius) < 0 else 1)
        hour = clients.epoch_ms(time) // 3600000 * 3600000
        count, total, minimum, maximum = hours.get((sensor, hour), (0, 0, value, value))
        hours[(sensor, hour)] = (count + 1, total + value, min(minimum, value), max(maximum, value))
    return hours
