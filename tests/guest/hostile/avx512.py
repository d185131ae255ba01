# vpternlogd zmm0 and zmm31, all ones; kxnorw k1 and k7. Nothing where there is no AVX-512.
flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "")
if "avx512f" in flags.split():
    execute("62f37d4825c0ff" + "6203054025ffff" + "c5f446c9" + "c5c446ff" + "c3")
