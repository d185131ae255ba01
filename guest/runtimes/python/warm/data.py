import base64
import csv
import datetime
import hashlib
import io
import json
import math
import random
import re
import statistics
import string
import textwrap
import uuid
from decimal import Decimal
from fractions import Fraction

document = {"name": "zeroboot", "values": [1, 2.5, None, True], "nested": {"a": ["b"]}}
text = json.dumps(document, indent=2, sort_keys=True)
print(text, json.loads(text) == document)
print(re.findall(r"(\w+)@(\w+)\.com", "a@b.com, c@d.com"), re.sub(r"\s+", " ", "a  b\tc"))
print(Decimal("0.1") + Decimal("0.2"), Fraction(1, 3) + Fraction(1, 6), math.sqrt(2), math.pi)
moment = datetime.datetime.strptime("2024-02-29 12:30", "%Y-%m-%d %H:%M")
print(moment.isoformat(), moment + datetime.timedelta(days=366), f"{moment:%A %d %B}")
print(datetime.datetime.now().year > 2000, datetime.datetime.now(datetime.timezone.utc).tzinfo)
print(hashlib.sha256(b"x").hexdigest(), hashlib.md5(b"x").hexdigest(), base64.b64encode(b"xyz"))
print(statistics.mean([1, 2, 3, 4]), statistics.stdev([1, 2, 3, 4]), len(uuid.uuid4().hex))
generator = random.Random(1)
print(generator.randint(1, 6), generator.sample(range(100), 3), random.random() < 1)
table = io.StringIO()
writer = csv.writer(table)
writer.writerows([["a", "b"], [1, 'with "quotes"']])
print(list(csv.reader(io.StringIO(table.getvalue()))), string.ascii_lowercase)
print(textwrap.fill("the quick brown fox jumps over the lazy dog " * 3, 40))
