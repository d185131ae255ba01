import asyncio


async def step(n):
    await asyncio.sleep(0)
    return n * n


async def main():
    print(await asyncio.gather(*(step(i) for i in range(3))))


asyncio.run(main())
