/* SPDX-License-Identifier: MIT */
/*
 * One check for each feature, made at its first use.  A check asks the kernel
 * in a way that changes nothing; whatever error it gets means "absent", as
 * sandboxes answer EPERM, ENOSYS or EINVAL, but for errors that speak of limits.
 */
#include "os/probe.h"

#include <errno.h>
#include <limits.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/atomic.h"
#include "os/compiler.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

#ifdef HAVE_LIBURING
#define URING_OFF "refused here (container, sysctl or old kernel); epoll is used"
#else
#define URING_OFF "built without liburing; epoll is used"
#endif

static const struct ft__feature_text texts[FT__FEATURES] = {
	[FT__CLONE] = { "clone", "2.6", "workers are copied by fork()",
			"workers are cloned where one thread runs" },
	[FT__CLONE3] = { "clone3", "5.3", "refused here (container?); clone is used",
			 "workers are made by clone3" },
	[FT__PIDFD] = { "pidfd", "5.4", "refused here; process workers need it",
			"deaths are proved by pidfds" },
	[FT__TID_ADDRESS] = { "tid_address", "3.5",
			      "the kernel lacks CHECKPOINT_RESTORE; fork() is used",
			      "cloned workers know their thread id" },
	[FT__MEMFD_NOEXEC] = { "memfd_noexec", "6.3", "old kernel; nothing is lost",
			       "the arena cannot be executed" },
	[FT__URING] = { "io_uring", "5.11", URING_OFF, "one ring waits for bells and deaths" },
	[FT__URING_FUTEX] = { "io_uring-futex", "6.7", "bells are eventfds",
			      "bells are futexes" },
	[FT__URING_MULTI] = { "io_uring-multishot", "5.13", "epoll watches the eventfds",
			      "one request watches an eventfd for ever" },
	[FT__MEMPOLICY] = { "mempolicy", "2.6", "refused here; memory goes where it is first used",
			    "NUMA nodes can be asked" },
};

/* Two bits a feature, set together and never cleared: answered, and yes.
 * Threads that race ask twice and get the same answer. */
static uint32_t answers;
#define KNOWN(f) (UINT32_C(1) << (f))
#define YES(f) (UINT32_C(1) << (16 + (f)))
_Static_assert(FT__FEATURES <= 16, "two bits a feature");

static uint32_t answer(enum ft__feature f, bool yes)
{
	return KNOWN(f) | (yes ? YES(f) : 0);
}

/* Any Linux; ThreadSanitizer has a thread of its own that a clone loses. */
static bool check_clone(void)
{
#ifdef FT__TSAN
	return false;
#else
	return true;
#endif
}

/* 5.3.  With no arguments it has nothing to do but to say EINVAL. */
static bool check_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0) < 0 && errno == EINVAL;
}

/* Having no descriptor or memory left is no refusal: the call got that far. */
static bool made(int fd)
{
	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno == EMFILE || errno == ENFILE || errno == ENOMEM;
}

/* 5.2 for clone's, 5.4 for waitid's: such a descriptor is not open (EBADF), but a
 * kernel without P_PIDFD says EINVAL.  pidfd_open may be refused apart from them,
 * and its callers see that. */
static bool check_pidfd(void)
{
	siginfo_t info;

	return waitid((idtype_t)P_PIDFD, INT_MAX, &info, WEXITED | WNOHANG) < 0 && errno == EBADF;
}

/* 3.5, CONFIG_CHECKPOINT_RESTORE.  With glibc the address is where it keeps
 * the thread's id; other libraries keep other things there. */
static bool check_tid_address(void)
{
	int *address = NULL;

	return prctl(PR_GET_TID_ADDRESS, &address) == 0 && address &&
	       *address == (int)syscall(SYS_gettid);
}

/* 6.3; older kernels refuse unknown flags. */
static bool check_memfd_noexec(void)
{
	return made(memfd_create("ft-probe", MFD_CLOEXEC | MFD_NOEXEC_SEAL));
}

/* 2.6 with CONFIG_NUMA; Docker refuses it without CAP_SYS_NICE, and libnuma
 * takes that for a yes. */
static bool check_mempolicy(void)
{
	return syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0) == 0;
}

#ifdef HAVE_LIBURING
#define FEAT_EXT_ARG (1u << 8)    /* 5.11: waiting with a timeout needs no request */
#define FEAT_RSRC_TAGS (1u << 10) /* 5.13: the release that brought multishot polls */
#define OP_FUTEX_WAIT 51          /* 6.7 */
#define PROBE_OPS 256

/* 6.7 for FUTEX_WAIT; IORING_REGISTER_PROBE itself is 5.6. */
static bool ring_has_futex(int ring)
{
	_Alignas(struct io_uring_probe) unsigned char
		space[sizeof(struct io_uring_probe) +
		      PROBE_OPS * sizeof(struct io_uring_probe_op)] = { 0 };
	struct io_uring_probe *probe = (struct io_uring_probe *)space;

	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_PROBE, probe, PROBE_OPS) != 0)
		return false;
	return probe->last_op >= OP_FUTEX_WAIT &&
	       (probe->ops[OP_FUTEX_WAIT].flags & IO_URING_OP_SUPPORTED);
}

static uint32_t check_uring(void)
{
	struct io_uring_params params = { 0 };
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);
	bool on = ring >= 0 && (params.features & FEAT_EXT_ARG);

	/* No descriptor left says nothing about rings: ask again next time. */
	if (ring < 0 && (errno == EMFILE || errno == ENFILE))
		return 0;

	uint32_t all = answer(FT__URING, on) | answer(FT__URING_FUTEX, on && ring_has_futex(ring)) |
		       answer(FT__URING_MULTI, on && (params.features & FEAT_RSRC_TAGS));

	if (ring >= 0)
		close(ring);
	return all;
}
#else
static uint32_t check_uring(void)
{
	return KNOWN(FT__URING) | KNOWN(FT__URING_FUTEX) | KNOWN(FT__URING_MULTI);
}
#endif

static uint32_t check(enum ft__feature feature)
{
	switch (feature) {
	case FT__CLONE:
		return answer(feature, check_clone());
	case FT__CLONE3:
		return answer(feature, check_clone3());
	case FT__PIDFD:
		return answer(feature, check_pidfd());
	case FT__TID_ADDRESS:
		return answer(feature, check_tid_address());
	case FT__MEMFD_NOEXEC:
		return answer(feature, check_memfd_noexec());
	case FT__MEMPOLICY:
		return answer(feature, check_mempolicy());
	default:
		return check_uring();
	}
}

/* Is "-name" one of the words of the list? */
static bool list_refuses(const char *list, const char *name)
{
	size_t length = strlen(name);

	while (*list) {
		size_t word = strcspn(list, ",");

		if (word == length + 1 && list[0] == '-' && memcmp(list + 1, name, length) == 0)
			return true;
		list += word + (list[word] == ',');
	}
	return false;
}

static bool refused(enum ft__feature feature)
{
	const char *list = getenv("FT_PROBE"), *how = getenv("FT_CLONE");

	if (feature == FT__CLONE && how && strcmp(how, "fork") == 0)
		return true;
	return list && list_refuses(list, texts[feature].name);
}

/* Without a ring there is nothing of what it could do. */
static bool base_refused(enum ft__feature feature)
{
	return (feature == FT__URING_FUTEX || feature == FT__URING_MULTI) && refused(FT__URING);
}

bool ft__have(enum ft__feature feature)
{
	if ((unsigned)feature >= FT__FEATURES)
		return false;

	/* Relaxed: the word itself is all that is published. */
	uint32_t seen = ft__load32_relaxed(&answers);

	if (FT__UNLIKELY(!(seen & KNOWN(feature)))) {
		int saved = errno;

		/* Only this feature's bits: the ring's check answers for three,
		 * each of which may be refused on its own. */
		seen = refused(feature) || base_refused(feature) ? KNOWN(feature) : check(feature);
		seen &= KNOWN(feature) | YES(feature);
		ft__or32_seq_cst(&answers, seen);
		errno = saved;
	}
	return seen & YES(feature);
}

bool ft__known(enum ft__feature feature)
{
	if ((unsigned)feature >= FT__FEATURES)
		return true;
	ft__have(feature);
	/* Relaxed: as in ft__have. */
	return ft__load32_relaxed(&answers) & KNOWN(feature);
}

const struct ft__feature_text *ft__feature_text(enum ft__feature feature)
{
	return (unsigned)feature < FT__FEATURES ? &texts[feature] : NULL;
}

int ft__feature_overridden(enum ft__feature feature)
{
	return (unsigned)feature < FT__FEATURES && refused(feature);
}
