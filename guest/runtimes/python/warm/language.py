from collections import Counter, defaultdict, namedtuple
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache, partial, reduce
from itertools import chain, islice, product


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(order=True)
class Item:
    name: str
    price: float = 0.0
    tags: list = field(default_factory=list)


class Account:
    def __init__(self, owner, balance=0):
        self.owner, self._balance = owner, balance

    @property
    def balance(self):
        return self._balance

    def __repr__(self):
        return f"{type(self).__name__}({self.owner!r}, {self._balance:,.2f})"


@lru_cache(maxsize=None)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def primes():
    n = 2
    while True:
        if all(n % p for p in range(2, int(n**0.5) + 1)):
            yield n
        n += 1


Point = namedtuple("Point", "x y")
squares = [i * i for i in range(200)]
by_rest = defaultdict(list)
for square in squares:
    by_rest[square % 7].append(square)
print(sum(squares), {k: len(v) for k, v in by_rest.items()}, fibonacci(60))
print(list(islice(primes(), 20)), Counter("mississippi").most_common(2), Point(1, 2))
print(sorted([Item("b", 2.5), Item("a", 1.25)]), Colour.RED, Account("me", 1234.5))
print(reduce(lambda a, b: a + b, chain(range(3), range(4))), list(product("ab", "xy")))
print(f"{3.14159:.2f} {255:#x} {'text':>10} {1e6:,.0f}", "%05d" % 42, "{:^9}".format("mid"))
print(partial(int, base=2)("1011"), 2**200, divmod(17, 5), round(2.675, 2), "äöü".upper())
match squares[3]:
    case 9:
        print("nine")
