/* SPDX-License-Identifier: MIT */
/* The helper's side of a spawner. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/arena.h"
#include "os/affinity.h"
#include "os/clone.h"
#include "os/pidfd.h"
#include "os/point.h"
#include "os/sigmask.h"
#include "sync/bell.h"
#include "work/imprint.h"
#include "work/lifeline.h"
#include "work/mail.h"
#include "work/private_fd.h"
#include "work/spawner.h"

#define SIGNALS 64

struct helper {
	int sock;
	const struct ft_spawner_hooks *hooks; /* NULL: a copy of the program */
};

/* What was installed when the helper began to serve: it must not run those
 * handlers, its workers must. */
static struct sigaction program_action[SIGNALS + 1];

/* Ctrl-C goes to the whole terminal; what it means is the program's say. */
static void ignore_interrupts(void)
{
	signal(SIGINT, SIG_IGN);
}

static void set_signals_aside(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };

	for (int signo = 1; signo <= SIGNALS; signo++) {
		struct sigaction *was = &program_action[signo];

		if (sigaction(signo, NULL, was))
			was->sa_handler = SIG_DFL;
		else if (was->sa_handler != SIG_DFL && was->sa_handler != SIG_IGN)
			sigaction(signo, &plain, NULL);
	}
	ignore_interrupts();
}

/* An exec'ed helper keeps its handlers, but for Ctrl-C's; it was started to ignore
 * that, which says nothing about workers. */
static void set_interrupts_aside(void)
{
	struct sigaction *interrupt = &program_action[SIGINT];

	sigaction(SIGCHLD, NULL, &program_action[SIGCHLD]);
	if (sigaction(SIGINT, NULL, interrupt) || interrupt->sa_handler == SIG_IGN)
		interrupt->sa_handler = SIG_DFL;
	ignore_interrupts();
}

static void restore_signals(void)
{
	for (int signo = 1; signo <= SIGNALS; signo++) {
		const struct sigaction *was = &program_action[signo];

		if ((was->sa_handler != SIG_DFL && was->sa_handler != SIG_IGN) || signo == SIGINT)
			sigaction(signo, was, NULL);
	}
}

/* Errors of a moment. */
static bool passes(int error)
{
	return error == EINTR || error == ENOBUFS || error == ENOMEM;
}

/* 1: a request; 0: the program is done with us. */
static int receive(int sock, struct ft__spawn_request *request)
{
	ssize_t n;

	do
		n = recv(sock, request, sizeof(*request), 0);
	while (n < 0 && passes(errno));
	return n == sizeof(*request);
}

/* The program waits for it: an answer that cannot be given has to be our end,
 * which the program sees.  0 or -errno. */
static int reply(int sock, const struct ft__spawn_request *request, int32_t pid, int pidfd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct ft__spawn_reply answer = { .pid = pid, .owner = request->birth.owner };
	struct iovec iov = { .iov_base = &answer, .iov_len = sizeof(answer) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (pidfd >= 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &pidfd, sizeof(pidfd));
	}
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
		if (!passes(errno))
			return -errno;
	return 0;
}

static const void *payload_of(const struct ft__letter *letter)
{
	return letter->size ? letter + 1 : NULL;
}

/* A spare is a worker in all but what it does, and waits for that. */
static const struct ft__letter *await_letter(const struct ft__birth *birth)
{
	const struct ft__letter *letter = ft__mail_take(birth->owner);

	if (letter->has_cpus)
		ft__affinity_set(0, &letter->cpus);
	return letter;
}

static void be_worker_of_hooks(const struct ft_spawner_hooks *hooks,
			       const struct ft__spawn_request *request)
{
	const struct ft__letter *letter;

	sigaction(SIGINT, &program_action[SIGINT], NULL);
	if (ft__process_begin(&request->birth))
		_exit(255);
	if (hooks->ready)
		hooks->ready(hooks->ctx);
	if (!request->letter)
		ft__imprint_tell();
	letter = request->letter ? ft__letter_at(request->letter) : await_letter(&request->birth);
	if (!letter)
		_exit(255);
	ft__process_leave(hooks->child(hooks->ctx, payload_of(letter), letter->size));
}

_Noreturn static void be_worker(const struct helper *helper,
				const struct ft__spawn_request *request)
{
	ft_worker_main *main = (ft_worker_main *)(uintptr_t)request->main;
	const struct ft__letter *letter;

	if (helper->hooks)
		be_worker_of_hooks(helper->hooks, request);
	restore_signals();
	if (ft__process_begin(&request->birth) || !(letter = ft__letter_at(request->letter)))
		_exit(255);
	ft__process_leave(main((void *)payload_of(letter)));
}

/* Where raw clone is refused, a child of ours has to do: the program knows it
 * by its pidfd, and its status from its slot.  The kernel reaps it. */
static int copy(struct ft__child *child, struct ft__birth *birth)
{
	int rc = ft__clone(true, child);

	if (rc != -ENOSYS)
		return rc;
	signal(SIGCHLD, SIG_IGN);
	birth->mortal = 0; /* our death is not the program's */
	rc = ft__fork(child);
	if (!rc && !child->pid)
		sigaction(SIGCHLD, &program_action[SIGCHLD], NULL);
	return rc;
}

/* The helper bears the worker's name while it clones: whoever reads it as soon
 * as the worker is known to have started must not see the helper's. */
static int copy_named(struct ft__child *child, struct ft__birth *birth)
{
	char own[FT_WORKER_NAME_MAX];
	int rc;

	prctl(PR_GET_NAME, own);
	if (birth->name[0])
		prctl(PR_SET_NAME, birth->name);
	rc = copy(child, birth);
	if (rc || child->pid)
		prctl(PR_SET_NAME, own);
	return rc;
}

static int serve_one(const struct helper *helper, struct ft__spawn_request *request)
{
	const struct ft_spawner_hooks *hooks = helper->hooks;
	struct ft__child child;
	int rc;

	if (hooks && !request->letter)
		ft__imprint_expect();
	if (hooks && hooks->before)
		hooks->before(hooks->ctx);
	ft__lifeline_lay();
	FT__POINT();
	rc = copy_named(&child, &request->birth);
	FT__POINT();
	if (!rc && !child.pid)
		be_worker(helper, request);
	if (ft__lifeline_laid(rc ? 0 : child.pid) == -ESRCH)
		ft__pidfd_signal(child.pidfd, child.pid, SIGKILL);
	ft__imprint_cloned();
	if (hooks && hooks->parent)
		hooks->parent(hooks->ctx);
	int told = reply(helper->sock, request, rc ? rc : child.pid, rc ? -1 : child.pidfd);

	FT__POINT();
	if (!rc)
		close(child.pidfd);
	return told;
}

static int serve(const struct helper *helper)
{
	struct ft__spawn_request request;

	int rc = 0;

	while (!rc && receive(helper->sock, &request)) {
		if (ft__thread_count() > 1) {
			reply(helper->sock, &request, -EBUSY, -1);
			return -EBUSY;
		}
		rc = serve_one(helper, &request);
	}
	return rc;
}

int ft__spawner_serve_copy(int sock, uint64_t mask)
{
	struct helper helper = { .sock = ft__private_fd(sock) };

	set_signals_aside();
	ft__sigmask_restore(&mask);
	return serve(&helper) ? 1 : 0;
}

/* What start_exec wrote; every descriptor must be there. */
static int read_environment(struct ft__spawner_env *env)
{
	const char *text = getenv(FT__SPAWNER_ENV);
	char more;

	if (!text || sscanf(text, FT__SPAWNER_FORMAT "%c", &env->sock, &env->arena, &env->bell,
			    &env->parent, &env->lifeline, &env->owner, &more) != 6)
		return -EPROTO;
	unsetenv(FT__SPAWNER_ENV);
	if (fcntl(env->sock, F_SETFD, FD_CLOEXEC) || fcntl(env->lifeline, F_SETFD, FD_CLOEXEC))
		return -EPROTO;
	return env->bell >= 0 && fcntl(env->bell, F_SETFD, FD_CLOEXEC) ? -EPROTO : 0;
}

static int join_program(struct ft__spawner_env *env)
{
	struct ft__birth birth;
	int rc = read_environment(env);

	if (!rc)
		rc = ft_arena_attach(env->arena);
	if (rc)
		return rc;
	birth = (struct ft__birth){
		.owner = env->owner, .parent = env->parent, .sibling = 1, .mortal = 1
	};
	/* From here on as in a helper that is a copy: it rings the program. */
	ft__bell_inherit(env->bell);
	ft__bell_adopt();
	ft__lifeline_inherit(env->lifeline);
	return ft__process_begin(&birth);
}

int ft_spawner_serve(const struct ft_spawner_hooks *hooks)
{
	struct ft__spawner_env env;
	struct helper helper = { .hooks = hooks };
	int rc;

	if (!hooks || hooks->size != sizeof(*hooks) || !hooks->child)
		return -EINVAL;
	rc = join_program(&env);
	if (rc)
		return rc;
	helper.sock = ft__private_fd(env.sock);
	set_interrupts_aside();
	return serve(&helper);
}
