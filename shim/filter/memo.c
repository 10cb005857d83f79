//go:build cgo && seccomp

// A memo in front of libseccomp. The linker sends the calls by which a filter is described and exported through the
// functions here (--wrap, see compile.go). In the ordinary mode they pass everything on. While capturing, the exported
// program is kept and the export refused, so that nothing is loaded into the kernel. While replaying, the rules are
// not compiled again: their description is only summed, and the export gives the program that was captured from the
// same description. A description that differs makes the export fail, and with it the start: a wrong program is never
// loaded.
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <seccomp.h>

#include "memo.h"

static int mode = BERTH_FILTER_PLAIN;
static void *program;
static size_t program_length;
static uint64_t sum_a, sum_b;   // of the description so far
static uint64_t want_a, want_b; // of the description that the loaded program was made from

// Two sums with different primes (FNV-1a and a multiplicative one): this guards against mistakes, the program itself
// comes out of a sealed file of the shim and needs no guard against forgery.
static void mix(const void *data, size_t length)
{
	const unsigned char *p = data;
	for (size_t i = 0; i < length; i++) {
		sum_a = (sum_a ^ p[i]) * 1099511628211ULL;
		sum_b = (sum_b + p[i]) * 0x9E3779B97F4A7C15ULL;
		sum_b ^= sum_b >> 29;
	}
}

static void mix_number(uint64_t n) { mix(&n, sizeof n); }

void berth_filter_mode(int m)
{
	mode = m;
	if (m != BERTH_FILTER_REPLAY) {
		free(program);
		program = NULL;
		program_length = 0;
		malloc_trim(0); // a compilation takes a megabyte, and the shim stays
	}
}

void berth_filter_load(const void *p, size_t length, uint64_t a, uint64_t b)
{
	free(program);
	program = malloc(length);
	program_length = 0;
	if (program) {
		memcpy(program, p, length);
		program_length = length;
	}
	want_a = a;
	want_b = b;
	mode = BERTH_FILTER_REPLAY;
}

const void *berth_filter_program(size_t *length)
{
	*length = program_length;
	return program;
}

void berth_filter_sums(uint64_t *a, uint64_t *b)
{
	*a = sum_a;
	*b = sum_b;
}

scmp_filter_ctx __real_seccomp_init(uint32_t action);
scmp_filter_ctx __wrap_seccomp_init(uint32_t action)
{
	sum_a = 14695981039346656037ULL;
	sum_b = 0;
	mix_number(action);
	return __real_seccomp_init(action);
}

int __real_seccomp_arch_add(scmp_filter_ctx ctx, uint32_t token);
int __wrap_seccomp_arch_add(scmp_filter_ctx ctx, uint32_t token)
{
	mix_number(1);
	mix_number(token);
	return __real_seccomp_arch_add(ctx, token);
}

int __real_seccomp_attr_set(scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value);
int __wrap_seccomp_attr_set(scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value)
{
	mix_number(2);
	mix_number(attr);
	mix_number(value);
	return __real_seccomp_attr_set(ctx, attr, value);
}

static void mix_rule(uint64_t kind, uint32_t action, int call, unsigned int count, const struct scmp_arg_cmp *args)
{
	mix_number(kind);
	mix_number(action);
	mix_number((uint64_t)(int64_t)call);
	mix_number(count);
	for (unsigned int i = 0; i < count; i++) {
		mix_number(args[i].arg);
		mix_number(args[i].op);
		mix_number(args[i].datum_a);
		mix_number(args[i].datum_b);
	}
}

int __real_seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int call, unsigned int count,
				  const struct scmp_arg_cmp *args);
int __wrap_seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int call, unsigned int count,
				  const struct scmp_arg_cmp *args)
{
	mix_rule(3, action, call, count, args);
	if (mode == BERTH_FILTER_REPLAY)
		return 0;
	return __real_seccomp_rule_add_array(ctx, action, call, count, args);
}

int __real_seccomp_rule_add_exact_array(scmp_filter_ctx ctx, uint32_t action, int call, unsigned int count,
					const struct scmp_arg_cmp *args);
int __wrap_seccomp_rule_add_exact_array(scmp_filter_ctx ctx, uint32_t action, int call, unsigned int count,
					const struct scmp_arg_cmp *args)
{
	mix_rule(4, action, call, count, args);
	if (mode == BERTH_FILTER_REPLAY)
		return 0;
	return __real_seccomp_rule_add_exact_array(ctx, action, call, count, args);
}

static int write_all(int fd, const char *p, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, p, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		length -= n;
	}
	return 0;
}

int __real_seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);

static int capture(const scmp_filter_ctx ctx)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = __real_seccomp_export_bpf(ctx, fd);
	off_t length = rc < 0 ? -1 : lseek(fd, 0, SEEK_END);
	free(program);
	program = NULL;
	program_length = 0;
	if (length > 0 && (program = malloc(length)) && pread(fd, program, length, 0) == length)
		program_length = length;
	close(fd);
	return rc < 0 ? rc : -ECANCELED;
}

int __wrap_seccomp_export_bpf(const scmp_filter_ctx ctx, int fd)
{
	switch (mode) {
	case BERTH_FILTER_CAPTURE:
		return capture(ctx);
	case BERTH_FILTER_REPLAY:
		if (program_length == 0 || sum_a != want_a || sum_b != want_b)
			return -EINVAL;
		return write_all(fd, program, program_length);
	}
	return __real_seccomp_export_bpf(ctx, fd);
}
