# shellcheck shell=bash
# The Python part of guest/rootfs/build.sh, which sources this file.

PYTHON=python3.11

# Of the standard library: tests, graphics, installers, documentation.
NO_MODULES=(ensurepip idlelib lib2to3 msilib pydoc_data test tkinter turtledemo curses
    turtle.py '_tkinter*' 'config-*' '__pycache__' 'LICENSE.txt' EXTERNALLY-MANAGED sitecustomize.py)
# Extension modules without their libraries or without a use.
NO_EXTENSIONS=('_test*' '_xx*' 'xx*' '_curses*' 'readline*' '_dbm*' 'nis*' 'ossaudiodev*' '_crypt*')

stage_runtime() {
    local lib=$STAGE/usr/lib/$PYTHON home=$STAGE/usr/lib/zeroboot/python
    rm -rf "$STAGE"/usr/share/{python3,binutils} "$STAGE/usr/bin/pdb3.11" "$STAGE/usr/bin/pydoc3.11"
    remove_matching "$lib" "${NO_MODULES[@]}"
    remove_matching "$lib/lib-dynload" "${NO_EXTENSIONS[@]}"
    ln -sf "$PYTHON" "$STAGE/usr/bin/python3"
    ln -sf "$PYTHON" "$STAGE/usr/bin/python"

    # Not in place: the interpreter runs from that file.
    cp "$STAGE/usr/bin/$PYTHON" "$STAGE/usr/bin/$PYTHON.new"
    image_python "$RUNTIME_DIR/one_text.py" "$STAGE/usr/bin/$PYTHON.new"
    mv "$STAGE/usr/bin/$PYTHON.new" "$STAGE/usr/bin/$PYTHON"
    ALIGNED=/usr/bin/$PYTHON

    say "compiling the Python extension"
    cargo_build python zeroboot-python '' unwind
    install -D -m644 "$BUILT/lib_zeroboot.so" "$home/_zeroboot.abi3.so"
    cp -r "$RUNTIME_DIR/runtime.py" "$RUNTIME_DIR/zeroboot_guest" "$home"

    say "compiling the standard library"
    image_python "$RUNTIME_DIR/compile.py" "$lib" "$STAGE/usr/lib/python311.zip" "$home"
    # What is left: extension modules, and the file by which Python recognises its directory.
    find "$lib" -mindepth 1 -maxdepth 1 ! -name lib-dynload ! -name os.py -exec rm -rf {} +
}

remove_matching() {
    local directory=$1 pattern
    shift
    for pattern in "$@"; do
        find "$directory" -mindepth 1 -maxdepth 1 -name "$pattern" -exec rm -rf {} +
    done
}

# The image's own Python, because a .pyc belongs to one version; nothing of the host's is used.
image_python() {
    local libs=$STAGE/usr/lib/x86_64-linux-gnu
    env -i PYTHONHOME="$STAGE/usr" PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 \
        "$libs/ld-linux-x86-64.so.2" --library-path "$libs" "$STAGE/usr/bin/$PYTHON" -S -s "$@"
}
