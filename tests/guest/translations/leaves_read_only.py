for place in PLACES:
    map_at(place, 3)
    assert write(place, 0x5A) == 0
    syscall(10, place, 4096, 1)
    assert read(place) == 0x5A and write(place, 1) == FAULTED
