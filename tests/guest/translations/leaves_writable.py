for place in PLACES:
    map_at(place, 3)
    assert write(place, 0xA5) == 0 and read(place) == 0xA5
