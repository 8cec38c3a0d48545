import io

from rich.console import Console

from loadtests.balancer import configuration
from loadtests.figures import figures
from loadtests.scaling import Point, draw, table
from tests.loadtests.made_up import steady


def test_the_balancer_knows_every_server():
    text = configuration(9, ["http://127.0.0.1:81", "http://127.0.0.1:82"])
    assert "bind 127.0.0.1:9\n" in text
    assert "server replica1 127.0.0.1:81 check" in text
    assert "server replica2 127.0.0.1:82 check" in text
    assert "balance leastconn" in text


def points():
    rates = {("worker processes", 1): 80, ("worker processes", 2): 120, ("instances", 1): 60, ("instances", 2): 90}
    return [Point(kind, count, figures(steady(0, 10, rate, 30.0), 10), 1.5) for (kind, count), rate in rates.items()]


def test_each_row_is_compared_with_one_replica_of_its_kind():
    text = io.StringIO()
    Console(file=text, width=120).print(table(points()))
    rows = [line.split("│") for line in text.getvalue().splitlines() if "│" in line]
    assert [[cell.strip() for cell in row[2:4]] for row in rows] == [
        ["80", "1.00"],
        ["120", "1.50"],
        ["60", "1.00"],
        ["90", "1.50"],
    ]


def test_the_plot_is_the_same_each_time(tmp_path):
    draw(points(), tmp_path / "a.svg")
    draw(points(), tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "worker processes" in text
