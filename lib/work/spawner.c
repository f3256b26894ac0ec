/* SPDX-License-Identifier: MIT */
/* The program's side of a spawner; the helper's is in spawner_serve.c. */
#include "work/spawner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/block.h"
#include "mem/slot.h"
#include "os/atomic.h"
#include "os/clone.h"
#include "os/sigmask.h"
#include "sync/bell.h"
#include "work/lifeline.h"
#include "work/private_fd.h"
#include "work/spare.h"
#include "work/supervisor.h"

#define STOP_NS INT64_C(1000000000) /* how long a helper may take to leave */
#define STARTS	5		    /* helpers that a worker may cost */
#define LOOK_MS 5
#define BUSY_NS INT64_C(20000000)   /* between looks at spares that are on their way */

struct ft_spawner {
	pthread_mutex_t lock; /* one request at a time; guards the next three */
	struct ft_worker *helper; /* NULL: none */
	int sock;
	struct ft__stock stock;
	uint32_t epoch; /* const */
	char **argv;    /* NULL: a copy of the program; const */
	char **envp;    /* const; NULL: the program's at each start */
	bool ticking;            /* the supervisor's clock looks after spares; under lock */
	struct ft_spawner *next; /* under all.lock */
};

/* Those that may have spares, for the supervisor, who only tries their locks: who
 * holds one may be waiting for it. */
static struct {
	pthread_mutex_t lock; /* taken before a spawner's */
	struct ft_spawner *first;
} all = { PTHREAD_MUTEX_INITIALIZER, NULL };

extern char **environ;

static void free_strings(char **strings)
{
	for (size_t i = 0; strings && strings[i]; i++)
		free(strings[i]);
	free(strings);
}

/* A copy with one string more at the end, if there is one.  NULL: no memory. */
static char **copy_strings(const char *const *strings, const char *more)
{
	size_t n = 0, skip = strlen(FT__SPAWNER_ENV "=");
	char **copy;

	while (strings[n])
		n++;
	copy = calloc(n + 2, sizeof(*copy));
	if (!copy)
		return NULL;
	n = 0;
	for (; *strings; strings++) {
		if (more && !strncmp(*strings, FT__SPAWNER_ENV "=", skip))
			continue;
		copy[n] = strdup(*strings);
		if (!copy[n++])
			goto fail;
	}
	if (more) {
		copy[n] = strdup(more);
		if (!copy[n])
			goto fail;
	}
	return copy;
fail:
	free_strings(copy);
	return NULL;
}

/* What the supervisor does for us: it stays the helper's parent thread. */
struct exec {
	char **argv, **envp;
	int keep[4], nkeep;
	struct ft__child child;
};

static int exec_helper(void *arg)
{
	struct exec *exec = arg;

	return ft__clone_exec(exec->argv[0], (const char *const *)exec->argv,
			      (const char *const *)exec->envp, exec->keep, exec->nkeep, true,
			      &exec->child);
}

static char **helper_environment(const struct ft_spawner *spawner, const struct ft__spawner_env *e)
{
	const char *const *from = (const char *const *)(spawner->envp ? spawner->envp : environ);
	char text[128];

	snprintf(text, sizeof(text), FT__SPAWNER_ENV "=" FT__SPAWNER_FORMAT, e->sock, e->arena,
		 e->bell, e->parent, e->lifeline, e->owner);
	return copy_strings(from, text);
}

static int start_exec(struct ft_spawner *spawner, struct ft_worker *helper, int sock)
{
	struct ft__spawner_env env = {
		.sock = sock,
		.arena = ft_arena_fd(),
		.bell = ft__bell_fd(),
		.parent = getpid(),
		.lifeline = ft__lifeline_fd(),
		.owner = helper->owner,
	};
	struct exec exec = {
		.argv = spawner->argv,
		.envp = helper_environment(spawner, &env),
		.keep = { sock, env.arena, env.lifeline, env.bell },
		.nkeep = env.bell < 0 ? 3 : 4,
	};
	int rc = exec.envp ? ft__supervisor_call(exec_helper, &exec) : -ENOMEM;

	free_strings(exec.envp);
	if (rc)
		return rc;
	helper->pid = exec.child.pid;
	helper->pidfd = ft__private_fd(exec.child.pidfd);
	return ft__supervisor_watch(helper);
}

/* A copy must not run a handler of the program's before it has set them aside:
 * it is made, and begins, with all signals blocked. */
struct copy {
	int sock;
	uint64_t mask;
};

static int copy_main(void *arg)
{
	const struct copy *copy = arg;

	return ft__spawner_serve_copy(copy->sock, copy->mask);
}

static int start_copy(struct ft_worker *helper, int sock)
{
	struct copy copy = { .sock = sock };
	int rc;

	helper->main = copy_main;
	helper->arg = &copy;
	ft__sigmask_block_all(&copy.mask);
	rc = ft__process_start(helper);
	ft__sigmask_restore(&copy.mask);
	return rc;
}

/* The helper is a worker like others, to its supervisor. */
static int start_helper(struct ft_spawner *spawner, int sock)
{
	struct ft_worker *helper = ft__worker_new(FT_WORKER_PROCESS, "ft-spawner");
	int rc = -EAGAIN;

	if (!helper)
		return -ENOMEM;
	helper->owner = ft__slot_reserve(helper->name);
	if (helper->owner)
		rc = spawner->argv ? start_exec(spawner, helper, sock) : start_copy(helper, sock);
	if (rc) {
		ft__slot_free(helper->owner);
		ft__worker_put(helper);
		return rc;
	}
	spawner->helper = helper;
	return 0;
}

static int start(struct ft_spawner *spawner)
{
	int sock[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return -errno;
	spawner->sock = ft__private_fd(sock[0]);
	rc = start_helper(spawner, sock[1]);
	close(sock[1]);
	if (rc) {
		ft__private_fd_close(spawner->sock);
		spawner->sock = -1;
	}
	return rc;
}

static bool running(const struct ft_spawner *spawner)
{
	return spawner->helper && !ft__pidfd_dead(spawner->helper->pidfd);
}

static int receive(int sock, int flags, struct ft__spawn_reply *reply, int *pidfd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = reply, .iov_len = sizeof(*reply) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *cmsg;
	ssize_t n;

	*pidfd = -1;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
	while (n < 0 && (errno == EINTR || errno == ENOMEM));
	if (n != sizeof(*reply))
		return -EPIPE;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(pidfd, CMSG_DATA(cmsg), sizeof(*pidfd));
	return 0;
}

/* Takes the answers about spares that are there. */
static void take_answers(struct ft_spawner *spawner)
{
	struct ft__spawn_reply reply;
	int pidfd;

	while (ft__stock_count(&spawner->stock, FT__SPARE_ASKED) &&
	       receive(spawner->sock, MSG_DONTWAIT, &reply, &pidfd) == 0)
		ft__stock_arrived(&spawner->stock, reply.owner, reply.pid, pidfd);
}

/* A helper that is dead, or of no more use; it is dead afterwards. */
static void drop(struct ft_spawner *spawner)
{
	while (running(spawner)) {
		struct pollfd poller = { .fd = spawner->helper->pidfd, .events = POLLIN };

		ft_worker_kill(spawner->helper, SIGKILL);
		poll(&poller, 1, -1);
	}
	take_answers(spawner);
	ft__stock_lost(&spawner->stock);
	ft__private_fd_close(spawner->sock);
	spawner->sock = -1;
	if (spawner->helper)
		ft__worker_put(spawner->helper);
	spawner->helper = NULL;
}

static int check(const struct ft_spawner *spawner)
{
	if (!spawner)
		return -EINVAL;
	return spawner->epoch == ft__epoch ? 0 : -ECHILD;
}

static void destroy(struct ft_spawner *spawner)
{
	free_strings(spawner->argv);
	free_strings(spawner->envp);
	pthread_mutex_destroy(&spawner->lock);
	free(spawner);
}

static int create(struct ft_spawner **out, const struct ft_spawner_options *options)
{
	struct ft_spawner *spawner = calloc(1, sizeof(*spawner));

	if (!spawner)
		return -ENOMEM;
	pthread_mutex_init(&spawner->lock, NULL);
	spawner->sock = -1;
	spawner->epoch = ft__epoch;
	if (options->argv)
		spawner->argv = copy_strings(options->argv, NULL);
	if (options->envp)
		spawner->envp = copy_strings(options->envp, NULL);
	*out = spawner;
	if ((options->argv && !spawner->argv) || (options->envp && !spawner->envp)) {
		destroy(spawner);
		return -ENOMEM;
	}
	return 0;
}

/* Its descriptor has to be there before it can be inherited. */
static int bell_ready(void)
{
	int fd = ft__bell_fd();

	return fd < -1 ? fd : 0;
}

int ft_spawner_start(struct ft_spawner **out, const struct ft_spawner_options *options)
{
	struct ft_spawner *spawner;
	int rc;

	if (!out || !options || options->size != sizeof(*options) ||
	    (options->argv && !options->argv[0]))
		return -EINVAL;
	rc = ft__arena_ready();
	if (!rc)
		rc = ft__supervisor_ready();
	if (!rc)
		rc = bell_ready();
	if (!rc)
		rc = create(&spawner, options);
	if (rc)
		return rc;
	rc = start(spawner);
	if (rc) {
		destroy(spawner);
		return rc;
	}
	pthread_mutex_lock(&all.lock);
	spawner->next = all.first;
	all.first = spawner;
	pthread_mutex_unlock(&all.lock);
	*out = spawner;
	return 0;
}

pid_t ft_spawner_pid(const struct ft_spawner *spawner)
{
	struct ft_spawner *s = (struct ft_spawner *)spawner; /* its lock is no part of its value */
	pid_t pid = 0;

	if (check(spawner))
		return 0;
	pthread_mutex_lock(&s->lock);
	if (running(s))
		pid = s->helper->pid;
	pthread_mutex_unlock(&s->lock);
	return pid;
}

static void leave_list(const struct ft_spawner *spawner)
{
	struct ft_spawner **at = &all.first;

	pthread_mutex_lock(&all.lock);
	while (*at && *at != spawner)
		at = &(*at)->next;
	if (*at)
		*at = spawner->next;
	pthread_mutex_unlock(&all.lock);
}

/* A spare that is being made is a child of ours: it must not be lost sight of. */
static void await_spares(struct ft_spawner *spawner)
{
	ft_deadline end = ft_after(STOP_NS);

	take_answers(spawner);
	while (running(spawner) && ft__stock_count(&spawner->stock, FT__SPARE_ASKED) &&
	       ft_now() < end) {
		struct pollfd poller = { .fd = spawner->sock, .events = POLLIN };

		poll(&poller, 1, LOOK_MS);
		take_answers(spawner);
	}
}

int ft_spawner_stop(struct ft_spawner *spawner)
{
	int rc = check(spawner);

	if (rc)
		return rc;
	leave_list(spawner);
	await_spares(spawner);
	if (spawner->helper) {
		/* Its end-of-file, even if a child holds a copy of our end. */
		shutdown(spawner->sock, SHUT_RDWR);
		if (ft_worker_join(spawner->helper, ft_after(STOP_NS)))
			ft_worker_kill(spawner->helper, SIGKILL);
		rc = ft_worker_join(spawner->helper, FT_FOREVER);
	}
	drop(spawner);
	ft__stock_empty(&spawner->stock);
	destroy(spawner);
	return rc;
}

static int send_request(const struct ft_spawner *spawner, const struct ft__spawn_request *request,
			int flags)
{
	ssize_t n;

	do
		n = send(spawner->sock, request, sizeof(*request), MSG_NOSIGNAL | flags);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EPIPE || errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

/* Waits for an answer or the helper's death, whichever is seen first: a copy
 * of its end of the socket may live on in a child that is being made. */
static int await_answer(const struct ft_spawner *spawner, struct ft__spawn_reply *reply, int *pidfd)
{
	struct pollfd poller[2] = {
		{ .fd = spawner->sock, .events = POLLIN },
		{ .fd = spawner->helper->pidfd, .events = POLLIN },
	};

	/* The worker may be there already: nothing but the answer or the death ends
	 * this wait.  What poll() says besides is EINTR and ENOMEM. */
	while (poll(poller, 2, -1) < 0)
		;
	return poller[0].revents ? receive(spawner->sock, 0, reply, pidfd) : -EPIPE;
}

/* Answers that come before ours are about spares. */
static int exchange(struct ft_spawner *spawner, const struct ft__spawn_request *request,
		    struct ft__spawn_reply *reply, int *pidfd)
{
	int rc = send_request(spawner, request, 0);

	while (!rc) {
		rc = await_answer(spawner, reply, pidfd);
		if (rc || reply->owner == request->birth.owner)
			break;
		ft__stock_arrived(&spawner->stock, reply->owner, reply->pid, *pidfd);
	}
	return rc;
}

/* The helper died before it answered.  Either the worker has taken its slot
 * and is ours, or it never will: the slot is revoked, and another taken. */
static int look_for_worker(struct ft_worker *worker, struct ft__spawn_request *request, int *pidfd)
{
	struct ft__slot *slot = ft__slot_of(worker->owner);

	if (!ft__spare_revoke(worker->owner)) {
		worker->pid = slot->pid;
		*pidfd = ft__pidfd_open(worker->pid);
		/* A start that fails has no worker; somebody else may have reaped it. */
		if (*pidfd < 0 && *pidfd != -ESRCH)
			ft__supervisor_bury(worker);
		return *pidfd < 0 ? *pidfd : 0;
	}
	worker->owner = ft__slot_reserve(worker->name);
	request->birth.owner = worker->owner;
	return worker->owner ? -EPIPE : -EAGAIN;
}

/* There may have been no room for its pidfd; then there is no room for it. */
static int accept_worker(struct ft_worker *worker, const struct ft__spawn_reply *reply, int *pidfd)
{
	if (reply->pid <= 0)
		return reply->pid < 0 ? reply->pid : -EPIPE;
	worker->pid = reply->pid;
	if (*pidfd < 0)
		*pidfd = ft__pidfd_open(worker->pid);
	if (*pidfd < 0)
		ft__supervisor_bury(worker);
	return *pidfd < 0 ? *pidfd : 0;
}

/* Not true of one that left by itself, or of which nobody knows. */
static bool helper_was_killed(const struct ft_spawner *spawner)
{
	struct ft_worker_exit how;

	return ft_worker_join(spawner->helper, ft_after(STOP_NS)) == 0 &&
	       ft_worker_exit_status(spawner->helper, &how) == 0 && how.known && how.signo;
}

/* Asks the helper; starts it again if it is dead or dies.  A new one that leaves
 * by itself will do so again; one that was killed is only one of several. */
static int ask(struct ft_spawner *spawner, struct ft_worker *worker,
	       struct ft__spawn_request *request, int *pidfd)
{
	struct ft__spawn_reply reply;
	unsigned int starts = 0;
	int rc;

	for (;;) {
		if (!running(spawner)) {
			drop(spawner);
			if (starts == STARTS || start(spawner))
				return -EPIPE;
			starts++;
		}
		rc = exchange(spawner, request, &reply, pidfd);
		if (!rc)
			return accept_worker(worker, &reply, pidfd);
		if (rc != -EPIPE)
			return rc;
		if (starts && !helper_was_killed(spawner))
			starts = STARTS;
		drop(spawner);
		rc = look_for_worker(worker, request, pidfd);
		if (rc != -EPIPE)
			return rc;
	}
}

static int write_letter(const struct ft_worker *worker, const void *payload, size_t size,
			struct ft__letter **letter)
{
	void *block;
	int rc = ft_block_alloc(sizeof(**letter) + size, &block);

	if (rc)
		return rc;
	*letter = block;
	**letter = (struct ft__letter){ .size = size,
					.has_cpus = worker->has_cpus,
					.cpus = worker->cpus };
	memcpy((*letter)->name, worker->name, sizeof(worker->name));
	if (size)
		memcpy(*letter + 1, payload, size);
	return 0;
}

static void describe(const struct ft_spawner *spawner, const struct ft_worker *worker,
		     struct ft__spawn_request *request)
{
	ft__process_birth(worker, &request->birth);
	request->birth.sibling = 1;
	request->birth.mortal = spawner->argv != NULL; /* the supervisor made the helper */
}

/* ---- spares ---- */

static int ask_for_spare(struct ft_spawner *spawner)
{
	struct ft__spare *spare = ft__stock_new(&spawner->stock);
	struct ft__spawn_request request = { 0 };
	int rc;

	if (!spare)
		return -ENOMEM;
	describe(spawner, spare->worker, &request);
	rc = send_request(spawner, &request, MSG_DONTWAIT);
	if (rc)
		ft__spare_cancel(spare);
	return rc;
}

/* Those that are not used are sent away by the clock: without it there are none. */
static void replenish(struct ft_spawner *spawner)
{
	uint32_t want = spawner->argv ? ft__stock_wanted(&spawner->stock) : 0;

	if (!want || !running(spawner))
		return;
	if (!spawner->ticking && ft__supervisor_alarm(FT__SPARE_IDLE_NS))
		return;
	spawner->ticking = true;
	while (want-- && ask_for_spare(spawner) == 0)
		;
}

/* 0; -ESRCH: the helper has to make one. */
static int adopt(struct ft_spawner *spawner, struct ft_worker *worker, struct ft__letter *letter)
{
	struct ft__stock *stock = &spawner->stock;
	struct ft__spawn_reply reply;
	int pidfd, rc;

	take_answers(spawner);
	for (;;) {
		rc = ft__stock_adopt(stock, worker, letter);
		if (!rc || !ft__stock_count(stock, FT__SPARE_ASKED) ||
		    await_answer(spawner, &reply, &pidfd))
			return rc;
		ft__stock_arrived(stock, reply.owner, reply.pid, pidfd);
	}
}

/* When the next look at this one's spares is due; FT_FOREVER: it has none. */
static ft_deadline look(struct ft_spawner *spawner)
{
	struct ft__stock *stock = &spawner->stock;
	ft_deadline due = stock->last + FT__SPARE_IDLE_NS, now = ft_now();

	if (now < due && (ft__stock_count(stock, FT__SPARE_READY) ||
			  ft__stock_count(stock, FT__SPARE_ASKED)))
		return due;
	take_answers(spawner);
	ft__stock_dismiss(stock);
	return ft__stock_count(stock, FT__SPARE_NONE) == FT__SPARES ? FT_FOREVER : now + BUSY_NS;
}

ft_deadline ft__spawner_tick(void)
{
	ft_deadline next = FT_FOREVER, due;

	pthread_mutex_lock(&all.lock);
	for (struct ft_spawner *s = all.first; s; s = s->next) {
		due = ft_after(BUSY_NS);
		if (pthread_mutex_trylock(&s->lock) == 0) {
			due = look(s);
			s->ticking = due != FT_FOREVER;
			pthread_mutex_unlock(&s->lock);
		}
		next = due < next ? due : next;
	}
	pthread_mutex_unlock(&all.lock);
	return next;
}

void ft__spawner_forget(void)
{
	pthread_mutex_init(&all.lock, NULL);
	all.first = NULL;
}

/* ---- spawn ---- */

/* 0: also watched, and the letter is the worker's. */
static int spawn(struct ft_spawner *spawner, struct ft_worker *worker, struct ft__letter *letter)
{
	struct ft__spawn_request request = {
		.main = (uintptr_t)worker->main,
		.letter = ft_block_handle(letter),
	};
	int pidfd = -1, rc;

	describe(spawner, worker, &request);
	rc = ask(spawner, worker, &request, &pidfd);
	worker->pidfd = ft__private_fd(pidfd);
	if (rc) {
		ft_block_free(letter);
		return rc;
	}
	/* From now on it goes with the worker. */
	ft__block_assign(ft__block_of(letter), worker->owner);
	return ft__supervisor_watch(worker);
}

static int spawn_locked(struct ft_spawner *spawner, struct ft_worker *worker,
			struct ft__letter *letter)
{
	int rc;

	ft__stock_note(&spawner->stock);
	rc = adopt(spawner, worker, letter);
	/* There are spares even then; the next worker may find none. */
	if (!rc && !running(spawner)) {
		drop(spawner);
		(void)start(spawner);
	}
	if (rc)
		rc = spawn(spawner, worker, letter);
	if (!rc)
		replenish(spawner);
	return rc;
}

int ft__spawner_spawn(struct ft_spawner *spawner, struct ft_worker *worker, const void *payload,
		      size_t size)
{
	struct ft__letter *letter;
	int rc = check(spawner);

	if (rc)
		return rc;
	/* A function's address means nothing in another program. */
	if (!worker->main != !!spawner->argv)
		return -EINVAL;
	rc = write_letter(worker, payload, size, &letter);
	if (rc)
		return rc;
	pthread_mutex_lock(&spawner->lock);
	rc = spawn_locked(spawner, worker, letter);
	pthread_mutex_unlock(&spawner->lock);
	return rc;
}
