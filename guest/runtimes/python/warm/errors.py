import traceback


def fails(depth):
    if depth:
        return fails(depth - 1)
    return {}["missing"]


try:
    fails(3)
except KeyError:
    traceback.print_exc()
try:
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise ValueError("chained") from error
except ValueError:
    print(traceback.format_exc())
try:
    compile("x = (", "<source>", "exec")
except SyntaxError:
    traceback.print_exc()
try:
    import no_such_module
except ImportError as error:
    print(error)
try:
    print(undefined)
except NameError as error:
    traceback.print_exception(error)
