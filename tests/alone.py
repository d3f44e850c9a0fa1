"""Runs a Python bundle with nothing importable but what its package requires."""

import subprocess
import sys
import sysconfig
from pathlib import Path

SITE = Path(sysconfig.get_paths()["purelib"])
REQUIRED = ("numpy", "numpy.libs", "PIL", "pillow.libs", "ai_edge_litert", "flatbuffers", "onnxruntime")
"""The requirements of packages for pictures and what these cannot do without."""
OF_VIDEOS = ("cv2", "opencv_python_headless.libs", "opencv_contrib_python.libs")
"""The same for clips: whichever wheel of OpenCV is here."""


def gathered(folder, names=REQUIRED):
    """Fill a folder of packages that holds these and nothing else; return it."""
    for name in names:
        if (SITE / name).exists():
            (folder / name).symlink_to(SITE / name)
    return folder


def command(package, packages, *arguments):
    """Run the command line of a package with only these folders of packages; return exit code, output and errors."""
    path = [str(each) for each in packages]
    code = f"import sys; sys.path += {path}; from {package}.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr
