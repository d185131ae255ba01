import os
import pathlib
import shutil
import tempfile

with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory) / "notes.txt"
    path.write_text("one\ntwo\n")
    with open(path, "a") as file:
        file.write("three\n")
    with open(path) as file:
        print([line.strip() for line in file])
    shutil.copy(path, path.with_suffix(".bak"))
    print(sorted(os.listdir(directory)), os.path.getsize(path), path.exists())
print(os.getcwd(), os.environ.get("HOME"))
