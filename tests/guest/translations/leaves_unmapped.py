for place in PLACES:
    map_at(place, 3)
    assert write(place, 0x5A) == 0
    syscall(11, place, 4096)
    assert read(place) == FAULTED
