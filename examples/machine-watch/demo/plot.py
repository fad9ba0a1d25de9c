# SPDX-License-Identifier: ISC
"""The picture: readings, labelled failure windows, alarms."""
import os
import subprocess

HEAD = """set terminal pngcairo size 1800,640 font 'sans,12' background '#ffffff'
set output '{output}'
set title "{title}" font 'sans,15'
set xdata time
set timefmt '%Y-%m-%dT%H:%M:%S'
set format x '%d %b'
set xtics 604800
set xrange ['{first}':'{last}']
set ylabel 'degrees Celsius'
set yrange [0:125]
set grid y lc rgb '#dddddd'
set border 3 lc rgb '#888888'
set tics nomirror
set key bottom center opaque box lc rgb '#cccccc' width 1 height 0.4
set lmargin 9
set rmargin 3
"""


def draw(folder, readings, windows, alarms, title):
    """Writes machine-watch.png into the folder and returns its path."""
    output = os.path.join(folder, "machine-watch.png")
    data = os.path.join(folder, "readings.dat")
    marks = os.path.join(folder, "alarms.dat")
    with open(data, "w", encoding="ascii") as file:
        file.writelines(f"{time} {celsius}\n" for _, time, celsius in readings)
    with open(marks, "w", encoding="ascii") as file:
        file.writelines(f"{alarm['time'].rstrip('Z')} {alarm['celsius']}\n" for alarm in alarms)
    script = HEAD.format(output=output, title=title, first=readings[0][1], last=readings[-1][1])
    for number, (begin, end) in enumerate(windows, 1):
        script += (f"set object {number} rectangle from '{begin}', graph 0 to '{end}', graph 1 "
                   "fillcolor rgb '#ffd9d0' fillstyle solid noborder behind\n")
    for number, alarm in enumerate(alarms, 1):
        time = alarm["time"].rstrip("Z")
        script += f"set arrow {number} from '{time}', graph 0 to '{time}', graph 0.94 nohead lw 1.5 lc rgb '#c0392b'\n"
        script += f"set label {number} '{time[8:10]}.{time[5:7]}. {time[11:16]}' at '{time}', graph 0.965 center " \
                  "font 'sans,10' textcolor rgb '#c0392b'\n"
    plots = ["NaN with boxes fillcolor rgb '#ffd9d0' fillstyle solid noborder title 'labelled failure'",
             f"'{data}' using 1:2 with lines lw 1 lc rgb '#2c5f8a' title 'reading, every 5 minutes'"]
    if alarms:
        plots.append(f"'{marks}' using 1:2 with points pt 7 ps 1.4 lc rgb '#c0392b' title 'alarm published'")
    script += "plot " + ", ".join(plots) + "\n"
    subprocess.run(["gnuplot"], input=script, text=True, check=True, timeout=60)
    return output
