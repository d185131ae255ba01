/* Runs in the guest: threads whose memcpy, SSE and AVX registers must survive preemption.
 *
 * Each thread keeps a pattern of its own in the upper halves of its vector registers across a
 * stretch of computing and across system calls, and copies buffers with the C library's vector
 * routines. Prints the number of rounds and of corruptions; exits 1 if there was one. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 6, LENGTH = 40000 };

static atomic_bool stop;
static atomic_ulong rounds, corrupt;
static int has_avx512;

/* What happens while the registers hold their pattern: a long loop, in which the timer preempts, or
 * a system call that switches tasks. All of it is one piece of assembly, so that the compiler has no
 * say about the registers. */
#define LOOP "mov $200000, %%ecx\n1:\tdec %%ecx\n\tjnz 1b\n\t"
#define YIELD "mov $24, %%eax\n\tsyscall\n\t" /* sched_yield */
#define HOLD(load, meanwhile, store, in, out)                                                      \
	__asm__ volatile(load meanwhile store ::"r"(in), "r"(out)                                  \
			 : "rax", "rcx", "r11", "cc", "memory")

#define LOAD_YMM "vmovdqu (%0), %%ymm6\n\tvmovdqu 32(%0), %%ymm15\n\t"
#define STORE_YMM "vmovdqu %%ymm6, (%1)\n\tvmovdqu %%ymm15, 32(%1)\n\tvzeroupper"
#define LOAD_ZMM "vmovdqu64 (%0), %%zmm20\n\tkmovw 4(%0), %%k3\n\t"
#define STORE_ZMM "vmovdqu64 %%zmm20, (%1)\n\tkmovw %%k3, 64(%1)\n\tvzeroupper"

/* Whether two vector registers, or one of AVX-512's and a mask, keep a pattern. */
static int registers_keep(uint64_t pattern, int wide, int yield)
{
	uint64_t in[8], out[9] = { 0 };
	for (int i = 0; i < 8; i++)
		in[i] = pattern * (2 * i + 1);
	if (wide && yield)
		HOLD(LOAD_ZMM, YIELD, STORE_ZMM, in, out);
	else if (wide)
		HOLD(LOAD_ZMM, LOOP, STORE_ZMM, in, out);
	else if (yield)
		HOLD(LOAD_YMM, YIELD, STORE_YMM, in, out);
	else
		HOLD(LOAD_YMM, LOOP, STORE_YMM, in, out);
	return memcmp(in, out, sizeof in) == 0 &&
	       (!wide || (out[8] & 0xffff) == (in[0] >> 32 & 0xffff));
}

static int copies_right(unsigned char *from, unsigned char *to, uint64_t random)
{
	size_t n = 1 + (random >> 33) % (LENGTH - 1);
	memset(to, 0xee, LENGTH);
	memcpy(to, from, n);
	if (memcmp(to, from, n) != 0)
		return 0;
	memset(to, 1, n);
	to[n] = 0;
	return strlen((char *)to) == n;
}

static void *thread(void *argument)
{
	uint64_t id = (uintptr_t)argument, random = id + 1;
	unsigned char *from = malloc(LENGTH), *to = malloc(LENGTH);
	for (int i = 0; i < LENGTH; i++)
		from[i] = i * 7 + id * 31;
	while (!stop) {
		int good;
		random = random * 6364136223846793005u + 1442695040888963407u;
		if (id < 2)
			good = copies_right(from, to, random);
		else
			good = registers_keep(random, has_avx512 && id >= 4, random >> 40 & 1);
		rounds++;
		corrupt += !good;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned a, b, c, d;
	pthread_t threads[THREADS];
	struct timespec time = { .tv_sec = argc > 1 ? atoi(argv[1]) : 20 };

	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2)) {
		puts("no AVX2");
		return 2;
	}
	has_avx512 = !!(b & bit_AVX512F);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, thread, (void *)i);
	nanosleep(&time, NULL);
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("rounds %lu corrupt %lu avx512 %d\n", rounds, corrupt, has_avx512);
	return corrupt != 0 || rounds < 100;
}
