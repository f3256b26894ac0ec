/* SPDX-License-Identifier: MIT */
/* What an error means in this library: libc's words are about other things. */
#include <freethreading/base.h>

#include <errno.h>

struct text {
	int error;
	const char *says;
};

static const struct text texts[] = {
	{ 0, "success" },
	{ EPERM, "the object belongs to somebody else, or the system forbids it" },
	{ ENOENT, "there is no such entry" },
	{ ESRCH, "the worker has ended" },
	{ EINTR, "a signal interrupted the wait" },
	{ E2BIG, "the arguments are too large" },
	{ ENOEXEC, "the program cannot be executed" },
	{ EBADF, "the descriptor is not open" },
	{ ECHILD, "this process was made by fork() and is no part of the program" },
	{ EAGAIN, "a limit is reached, or it is too early: try again later" },
	{ ENOMEM, "memory or address space is exhausted" },
	{ EACCES, "permission denied" },
	{ EFAULT, "an address is wrong" },
	{ EBUSY, "it is still in use" },
	{ EEXIST, "there is one already" },
	{ ENOTDIR, "part of the path is no directory" },
	{ EINVAL, "an argument is wrong" },
	{ ENFILE, "the system has no file descriptors left" },
	{ EMFILE, "the process has no file descriptors left" },
	{ EFBIG, "the file size limit (ulimit -f) leaves no room" },
	{ ENOSPC, "there is no room left" },
	{ EPIPE, "the other side is closed or gone" },
	{ ERANGE, "a number is out of range" },
	{ EDEADLK, "the caller would wait for itself" },
	{ ENOSYS, "this kernel or sandbox does not offer it" },
	{ EPROTO, "the other side does not speak this protocol or version" },
	{ EUCLEAN, "the arena is inconsistent" },
	{ EOVERFLOW, "a counter is at its limit" },
	{ ENOTSUP, "this kind of object cannot do it" },
	{ ESTALE, "the block behind the handle was freed" },
	{ EMSGSIZE, "the item is too large for its place" },
	{ EALREADY, "it had happened already" },
	{ ETIMEDOUT, "the deadline passed" },
	{ ECANCELED, "it was cancelled" },
	{ EOWNERDEAD, "the last owner of the lock, or the worker that ran the task, died" },
	{ ENOTRECOVERABLE, "the object is broken for good" },
};

const char *ft_strerror(int error)
{
	/* Not -error: the least int has no positive counterpart. */
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].error == error || texts[i].error == -(long long)error)
			return texts[i].says;
	return "an error that this library does not return by itself";
}
