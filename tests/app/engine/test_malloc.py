import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such heaps")


def test_large_arrays_come_from_the_heap_and_what_is_freed_stays_there():
    """So memory is reused without page faults. What malloc says of itself does not depend on who else is busy."""
    script = (
        "import ctypes, numpy as np\n"
        "from app.engine.malloc import keep_memory\n"
        "NAMES = 'arena ordblks smblks mapped mapped_bytes usmblks fsmblks used free kept'.split()\n"
        "class Mallinfo(ctypes.Structure):\n"
        "    _fields_ = [(name, ctypes.c_size_t) for name in NAMES]\n"
        "mallinfo = ctypes.CDLL(None).mallinfo2\n"
        "mallinfo.restype = Mallinfo\n"
        "first = mallinfo().mapped\n"
        "one = np.ones(2**21)\n"  # 16 MiB
        "assert mallinfo().mapped == first + 1\n"
        "assert keep_memory()\n"
        "other = np.ones(2**21)\n"
        "assert mallinfo().mapped == first + 1\n"
        "del other\n"
        "assert mallinfo().free >= 2**24\n"  # also where something else lies above it
    )
    subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603 - our own script


def test_what_is_free_between_other_things_is_given_back():
    script = (
        "import numpy as np\n"
        "from app.engine.malloc import give_back, keep_memory\n"
        "from app.telemetry.memory import resident_bytes\n"
        "if keep_memory():\n"
        "    kept = [np.ones(size) for _ in range(200) for size in (2**16, 2**8)]\n"  # 100 MiB, and little between
        "    kept = kept[1::2]\n"
        "    held = resident_bytes()\n"
        "    assert give_back()\n"
        "    assert resident_bytes() < held - 50 * 2**20, (held, resident_bytes())\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603 - our own script


HEAPS = """
import ctypes, sys, tempfile
from xml.etree import ElementTree
import uvicorn
from app.cli.main import main
from app.engine.self_test import check_order
from app.server.asgi import application

def heaps():
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    with tempfile.NamedTemporaryFile() as told:
        file = ctypes.c_void_p(library.fopen(told.name.encode(), b"w"))
        library.malloc_info(0, file)
        library.fclose(file)
        return len(ElementTree.parse(told.name).findall("heap"))

def served(application, **_):
    for reranker in application().state.dependencies.engine._load().served.values():
        check_order(reranker, 0)  # the threads of the encoder run
    print(heaps())

if sys.argv.pop() == "worker":  # a worker that uvicorn spawns starts here
    served(application)
else:
    uvicorn.run = served
    sys.argv = ["qrerank", "serve", "--port", "0"]
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("process", ["alone", "worker"])
def test_the_heaps_of_a_server_are_bounded_before_its_threads_make_any(tmp_path, process):
    environment = os.environ | {"QRERANK_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", HEAPS, process]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) <= 2, done.stdout
