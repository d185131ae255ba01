KEPT += [[str(i), {i: object()}] for i in range(6000)]
del KEPT[::3]
