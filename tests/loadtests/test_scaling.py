import io

from rich.console import Console

from loadtests.balancer import configuration
from loadtests.scaling import INSTANCES, WORKERS, point, table


def test_the_balancer_knows_every_server():
    text = configuration(9, ["http://127.0.0.1:81", "http://127.0.0.1:82"])
    assert "bind 127.0.0.1:9\n" in text
    assert "server replica2 127.0.0.1:82 check" in text
    assert "balance leastconn" in text


def row(rate, failures=0):
    return {"Request Count": "100", "Failure Count": str(failures), "Requests/s": str(rate), "50%": "20", "95%": "30"}


def test_each_row_is_compared_with_one_replica_of_its_kind():
    points = [
        point(WORKERS, 1, row(80), 1.0, 0.0),
        point(WORKERS, 2, row(120), 1.9, 0.0),
        point(INSTANCES, 1, row(60), 1.0, 0.0),
        point(INSTANCES, 2, row(100, failures=10), 1.9, 0.0),
    ]
    text = io.StringIO()
    Console(file=text, width=120).print(table(points))
    rows = [line.split("│") for line in text.getvalue().splitlines() if "│" in line]
    assert [[cell.strip() for cell in each[2:4]] for each in rows] == [
        ["80", "1.00"],
        ["120", "1.50"],
        ["60", "1.00"],
        ["90", "1.50"],
    ]
    assert points[-1].lost == 10
