/* SPDX-License-Identifier: MIT */
/*
 * Makes the n-th system call of a process, of its threads and of its children
 * fail, with an error that the kernel could give.
 *
 * A child installs a seccomp filter that asks its parent, by a listener, about
 * each call that is not left out; the parent counts those made while `armed`, and
 * answers one of them itself.  What the others do, the kernel does.  A call that is
 * in neither table is one that nobody has thought of: the parent says so.
 */
#ifndef TESTS_INJECT_H
#define TESTS_INJECT_H

#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "../unit/child.h"
#include "os/atomic.h"

#define CONTROL_FD 220 /* the child's, until it has sent its listener */
#define ERRORS 5

struct call {
	int nr;
	const char *name;
	int errors[ERRORS]; /* ends with 0 */
};

/* Waits only; a wake cannot fail. */
static const struct call calls[] = {
	{ SYS_memfd_create, "memfd_create", { EMFILE, ENOMEM, EPERM } },
	{ SYS_ftruncate, "ftruncate", { ENOSPC, EPERM } },
	{ SYS_fallocate, "fallocate", { ENOSPC, EOPNOTSUPP, EPERM } },
	{ SYS_fcntl, "fcntl", { EPERM, ENOMEM } },
	{ SYS_mmap, "mmap", { ENOMEM, EAGAIN, EPERM } },
	{ SYS_mprotect, "mprotect", { ENOMEM } },
	{ SYS_madvise, "madvise", { ENOMEM, EAGAIN, EINVAL } },
	{ SYS_futex, "futex", { EINTR, EAGAIN } }, /* waits */
	{ SYS_clone, "clone", { EAGAIN, ENOMEM, EPERM } },
	{ SYS_clone3, "clone3", { EAGAIN, ENOMEM, EPERM, ENOSYS } },
	{ SYS_execve, "execve", { ENOMEM, EAGAIN, EPERM } },
	{ SYS_pidfd_open, "pidfd_open", { EMFILE, ENOMEM } },
	{ SYS_pidfd_send_signal, "pidfd_send_signal", { EPERM } },
	{ SYS_waitid, "waitid", { EINTR } }, /* as futex */
	{ SYS_wait4, "wait4", { EINTR } },
	{ SYS_epoll_create1, "epoll_create1", { EMFILE, ENOMEM } },
	{ SYS_epoll_ctl, "epoll_ctl", { ENOMEM, ENOSPC } },
	{ SYS_epoll_wait, "epoll_wait", { EINTR } },
	{ SYS_epoll_pwait, "epoll_pwait", { EINTR } },
	{ SYS_epoll_pwait2, "epoll_pwait2", { EINTR, ENOSYS } },
	{ SYS_timerfd_create, "timerfd_create", { EMFILE, ENOMEM } },
	{ SYS_read, "read", { EINTR, EIO } },
	{ SYS_pread64, "pread64", { EINTR, EIO } },
	{ SYS_write, "write", { EINTR } }, /* of an eventfd, which has room */
	{ SYS_writev, "writev", { EIO } }, /* a loader's complaint */
	{ SYS_mlock, "mlock", { ENOMEM, EAGAIN, EPERM } },
	{ SYS_munlock, "munlock", { ENOMEM } },
	{ SYS_prlimit64, "prlimit64", { EPERM } },
	{ SYS_ioctl, "ioctl", { ENOTTY, EINVAL } },
	{ SYS_get_mempolicy, "get_mempolicy", { EPERM, ENOSYS } },
	{ SYS_set_mempolicy, "set_mempolicy", { EPERM, ENOSYS } },
	{ SYS_mbind, "mbind", { EPERM, ENOSYS } },
	{ SYS_sched_getattr, "sched_getattr", { EPERM } },
	{ SYS_eventfd2, "eventfd2", { EMFILE, ENOMEM } },
	{ SYS_pipe2, "pipe2", { EMFILE, ENFILE } },
	{ SYS_socketpair, "socketpair", { EMFILE, ENOBUFS } },
	{ SYS_sendmsg, "sendmsg", { EINTR, ENOBUFS, ENOMEM } },
	{ SYS_sendto, "sendto", { EINTR, ENOBUFS, ENOMEM } },
	{ SYS_recvmsg, "recvmsg", { EINTR, ENOMEM } },
	{ SYS_recvfrom, "recvfrom", { EINTR, ENOMEM } },
	{ SYS_poll, "poll", { EINTR, ENOMEM } },
	{ SYS_ppoll, "ppoll", { EINTR, ENOMEM } },
	{ SYS_openat, "openat", { EMFILE, ENOMEM, EPERM } },
	{ SYS_getdents64, "getdents64", { ENOMEM, EIO } },
	{ SYS_access, "access", { ENOENT, ENOMEM } },
	{ SYS_dup, "dup", { EMFILE } },
	{ SYS_getrandom, "getrandom", { EINTR, ENOSYS } },
	{ SYS_newfstatat, "newfstatat", { ENOMEM, EPERM } },
	{ SYS_prctl, "prctl", { EPERM, EINVAL } },
	{ SYS_get_robust_list, "get_robust_list", { EPERM } },
	{ SYS_sched_setaffinity, "sched_setaffinity", { EPERM, EINVAL } },
	{ SYS_sched_getaffinity, "sched_getaffinity", { EPERM } },
	{ SYS_io_uring_setup, "io_uring_setup", { EMFILE, ENOMEM, EPERM, ENOSYS } },
	{ SYS_io_uring_enter, "io_uring_enter", { EINTR, EAGAIN, EBUSY, ENOMEM } },
	{ SYS_io_uring_register, "io_uring_register", { EINVAL, ENOMEM, EPERM } },
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static const int left_out[] = {
	/* They cannot fail, or not with arguments like ours. */
	SYS_getpid, SYS_gettid, SYS_getppid, SYS_getcpu, SYS_uname, SYS_sched_yield,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_restart_syscall,
	SYS_set_robust_list, SYS_set_tid_address, SYS_rseq, SYS_arch_prctl,
	SYS_clock_gettime, SYS_timerfd_settime, SYS_lseek, SYS_shutdown, SYS_kill, SYS_tgkill,
	SYS_exit, SYS_exit_group,
	/* libc's, which takes an error for an address, or does not look at it. */
	SYS_brk, SYS_sysinfo,
	/* The thing would still be there: a failure would be our lie. */
	SYS_close, SYS_close_range, SYS_munmap,
};
#define LEFT_OUT (sizeof(left_out) / sizeof(left_out[0]))

/* Shared by the child and all that it starts. */
struct injection {
	uint32_t armed; /* atomic; the child's */
	/* The parent's.  The call to answer, from 1, and with which of its errors. */
	uint32_t at, error;
	uint32_t errors;   /* how many it has */
	uint32_t count;    /* of calls while armed */
	uint32_t injected; /* the answer that was given; 0: none */
	int stranger;      /* a call that was made while armed, and is in no table; -1: none */
	const char *name;  /* of that call */
};
static struct injection *injection;

static inline const struct call *call_of(int nr)
{
	for (size_t i = 0; i < CALLS; i++)
		if (calls[i].nr == nr)
			return &calls[i];
	return NULL;
}

/* ---- the child ---- */

static inline void send_listener(int listener)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &listener, sizeof(listener));
	REQUIRE(sendmsg(CONTROL_FD, &msg, 0) == 1);
}

/* Asks about every call that is not left out, but not about the sending of the listener,
 * which nobody listens to yet. */
static inline void listener_install(int sock)
{
	struct sock_filter filter[2 * LEFT_OUT + 6];
	struct sock_fprog program = { 0, filter };
	size_t n = 0;

	filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						   offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < LEFT_OUT; i++) {
		filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							   (unsigned)left_out[i], 0, 1);
		filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						   offsetof(struct seccomp_data, args));
	filter[n++] =
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CONTROL_FD, 1, 0);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = (unsigned short)n;
	REQUIRE(dup2(sock, CONTROL_FD) == CONTROL_FD);
	close(sock);
	REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);

	int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				    SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);

	REQUIRE(listener >= 0);
	send_listener(listener);
	close(listener);
	close(CONTROL_FD);
}

/* ---- the parent ---- */

static inline int receive_listener(int sock)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	int listener;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(listener));
	return listener;
}

static inline bool counts(const struct seccomp_data *data)
{
	int op = (int)data->args[1] & FUTEX_CMD_MASK;

	if (!ft__load32_seq_cst(&injection->armed))
		return false;
	if (data->nr == SYS_waitid && (data->args[3] & WNOHANG))
		return false;
	return data->nr != SYS_futex || op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET;
}

/* The error to answer with, or 0: let it happen. */
static inline int decide(const struct seccomp_data *data)
{
	const struct call *call = call_of(data->nr);

	if (!call && ft__load32_seq_cst(&injection->armed))
		injection->stranger = data->nr;
	if (!call || !counts(data) || ++injection->count != injection->at)
		return 0;
	injection->name = call->name;
	injection->errors = 0;
	while (injection->errors < ERRORS && call->errors[injection->errors])
		injection->errors++;
	injection->injected = (uint32_t)call->errors[injection->error % injection->errors];
	return (int)injection->injected;
}

/* One question of the child's.  It may be dead before we answer. */
static inline void answer_one(int listener)
{
	struct seccomp_notif asked = { 0 };
	struct seccomp_notif_resp answer = { 0 };

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked))
		return;
	answer.id = asked.id;
	answer.error = -decide(&asked.data);
	if (!answer.error)
		answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

#endif
