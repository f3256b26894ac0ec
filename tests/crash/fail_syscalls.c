/* SPDX-License-Identifier: MIT */
/*
 * The n-th system call fails, for every n: of whatever the library does, in the
 * program, in its threads, its workers and its helpers.  Each time the act must
 * end soon, with 0 or with a clean error; the same act must succeed afterwards;
 * and then there is as much of everything (descriptors, threads, children, slots,
 * blocks) as there is when nothing failed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

#include "../unit/pool_tools.h"
#include "inject.h"

#define HANG_SECONDS 15
#define WRONG 1 /* an act's answer: not an error, but not what was asked for either */

/* What is there when all is over. */
struct account {
	uint32_t fds, threads, children, slots;
	uint64_t blocks;
	char ladder[24];
};

struct report {
	struct injection injection;
	int first, second; /* what the two acts answered */
	struct account account;
	uint32_t reached;
};
static struct report *report;

struct scenario {
	const char *name;
	void (*prepare)(void);
	int (*act)(void);
	const char *probe; /* FT_PROBE, or NULL */
};

/* ---- acts ---- */

static int act_blocks(void)
{
	void *small = NULL, *large = NULL;
	int rc = ft_block_alloc(100, &small);

	if (!rc)
		rc = ft_block_alloc(3 << 20, &large);
	if (!rc)
		memset(large, 1, 3 << 20);
	int freed = ft_block_free(large) | ft_block_free(small);
	return freed ? WRONG : rc;
}

static void prepare_arena(void)
{
	REQUIRE(ft_arena_open() == 0 && ft__process() != 0);
}

/* The arena of another program, which is gone. */
static int strange_arena = -1;

static void prepare_attach(void)
{
	char path[64];
	int *fd = (int *)(report + 1);
	pid_t pid = fork();

	if (pid == 0) {
		*fd = ft_arena_fd();
		raise(SIGSTOP);
		_exit(0);
	}
	REQUIRE(waitpid(pid, NULL, WUNTRACED) == pid && *fd >= 0);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, *fd);
	strange_arena = open(path, O_RDWR | O_CLOEXEC);
	REQUIRE(strange_arena >= 0);
	kill(pid, SIGKILL);
	child_end(pid);
}

static int act_attach(void)
{
	static bool attached;
	int rc = attached ? 0 : ft_arena_attach(strange_arena);

	attached |= !rc;
	return rc ? rc : act_blocks();
}

static int main_seven(void *arg)
{
	(void)arg;
	return 7;
}

/* Its own failure before it began is 255. */
static int end_worker(struct ft_worker *worker)
{
	struct ft_worker_exit how;
	int rc;

	do
		rc = ft_worker_join(worker, ft_after(60 * SECOND));
	while (rc == -ENOMEM);
	if (rc || ft_worker_exit_status(worker, &how) || ft_worker_free(worker))
		return WRONG;
	if (how.code == 7 && !how.signo)
		return 0;
	return how.code == 255 && !how.signo ? -ECHILD : WRONG;
}

static int run_worker(struct ft_worker_options options)
{
	struct ft_worker *worker;
	bool payload = options.payload;

	options.size = sizeof(options);
	int rc = ft_worker_start(&worker, &options, payload ? NULL : main_seven, NULL);

	return rc ? rc : end_worker(worker);
}

static int act_thread(void)
{
	return run_worker((struct ft_worker_options){ .kind = FT_WORKER_THREAD });
}

static int act_process(void)
{
	return run_worker((struct ft_worker_options){ .kind = FT_WORKER_PROCESS });
}

static int with_spawner(struct ft_spawner_options options, const char *payload)
{
	struct ft_spawner *spawner;
	int rc = ft_spawner_start(&spawner, &options), stopped;

	if (rc)
		return rc;
	for (int i = 0; i < 2 && !rc; i++)
		rc = run_worker((struct ft_worker_options){ .kind = FT_WORKER_PROCESS,
							    .spawner = spawner,
							    .payload = payload,
							    .payload_size = payload ? 5 : 0 });
	stopped = ft_spawner_stop(spawner);
	return rc ? rc : stopped;
}

static int act_spawner(void)
{
	struct ft_spawner_options options = { .size = sizeof(options) };

	return with_spawner(options, NULL);
}

/* What a loader that fails has to say is known. */
static void prepare_program(void)
{
	int null = open("/dev/null", O_WRONLY);

	REQUIRE(null >= 0 && dup2(null, 2) == 2 && close(null) == 0);
	prepare_arena();
}

static int act_spawner_exec(void)
{
	static const char *const argv[] = { "/proc/self/exe", "helper", NULL };
	struct ft_spawner_options options = { .size = sizeof(options), .argv = argv };

	return with_spawner(options, "five");
}

static int helper_child(void *ctx, const void *payload, size_t size)
{
	(void)ctx;
	return size == 5 && !strcmp(payload, "five") ? 7 : 8;
}

static int mode_helper(void)
{
	struct ft_spawner_hooks hooks = { .size = sizeof(hooks), .child = helper_child };

	return ft_spawner_serve(&hooks) ? 255 : 0;
}

/* Two threads on one of each. */
struct stage {
	struct ft_lock lock;
	struct ft_event event;
	struct ft_semaphore semaphore;
	struct ft_condition condition;
	struct ft_barrier barrier;
	struct ft_queue queue;
	uint32_t flag;
};

#define TURNS 2

static int give_item(struct stage *stage)
{
	int rc = ft_queue_put(&stage->queue, "item", 5, SOON);

	if (!rc)
		rc = ft_semaphore_release(&stage->semaphore, 1);
	if (!rc)
		rc = ft_lock_acquire(&stage->lock, SOON);
	if (rc)
		return rc;
	stage->flag++;
	ft_condition_notify(&stage->condition, 1);
	return ft_lock_release(&stage->lock);
}

static int take_item(struct stage *stage, uint32_t turn)
{
	void *block;
	size_t size;
	int rc = ft_lock_acquire(&stage->lock, SOON);

	while (!rc && stage->flag <= turn)
		rc = ft_condition_wait(&stage->condition, &stage->lock, SOON);
	if (!rc)
		rc = ft_lock_release(&stage->lock);
	if (!rc)
		rc = ft_semaphore_acquire(&stage->semaphore, SOON);
	if (!rc)
		rc = ft_queue_get(&stage->queue, &block, &size, SOON);
	if (rc)
		return rc;
	rc = size == 5 && !strcmp(block, "item") ? 0 : WRONG;
	return ft_block_free(block) ? WRONG : rc;
}

static int main_taker(void *arg)
{
	struct stage *stage = arg;
	int rc = ft_event_wait(&stage->event, SOON);

	for (uint32_t turn = 0; turn < TURNS && !rc; turn++) {
		rc = take_item(stage, turn);
		if (ft_barrier_wait(&stage->barrier, SOON) < 0 && !rc)
			rc = WRONG;
	}
	return rc ? 8 : 7;
}

static int stage_init(struct stage *stage)
{
	memset(stage, 0, sizeof(*stage));
	return ft_lock_init(&stage->lock, FT_SHARED) | ft_event_init(&stage->event, FT_SHARED) |
	       ft_semaphore_init(&stage->semaphore, 0, 0, FT_SHARED) |
	       ft_condition_init(&stage->condition, FT_SHARED) |
	       ft_barrier_init(&stage->barrier, 2, FT_SHARED) |
	       ft_queue_init(&stage->queue, 1, FT_SHARED);
}

static int act_primitives(void)
{
	struct ft_worker_options options = { .size = sizeof(options), .kind = FT_WORKER_THREAD };
	struct ft_worker *worker;
	void *block;
	int rc = ft_block_alloc(sizeof(struct stage), &block);

	if (rc)
		return rc;
	struct stage *stage = block;
	rc = stage_init(stage);
	if (!rc)
		rc = ft_worker_start(&worker, &options, main_taker, stage);
	if (!rc) {
		rc = ft_event_set(&stage->event);
		for (int turn = 0; turn < TURNS && !rc; turn++) {
			rc = give_item(stage);
			if (ft_barrier_wait(&stage->barrier, SOON) < 0 && !rc)
				rc = WRONG;
		}
		int ended = end_worker(worker);
		rc = rc ? rc : ended;
		ft_queue_destroy(&stage->queue);
	}
	return ft_block_free(block) ? WRONG : rc;
}

static int task_double(struct ft_task *task)
{
	long x = *(const long *)ft_task_arg(task, NULL) * 2;

	return ft_task_reply(task, &x, sizeof(x));
}

/* 0; a clean error, which is also that of a task that was lost with a worker. */
static int take_result(struct ft_future *future, long wanted)
{
	const void *result;
	size_t size;
	int rc = ft_future_wait(future, ft_after(60 * SECOND));

	if (rc)
		return WRONG;
	rc = ft_future_result(future, &result, &size);
	if (!rc && (size != sizeof(long) || *(const long *)result != wanted))
		rc = WRONG;
	ft_future_free(future);
	return rc;
}

static int worse(int a, int b)
{
	return a == WRONG || !b ? a : b;
}

static int run_tasks(struct ft_pool *pool)
{
	struct ft_future *futures[4];
	int rc = 0;

	for (long i = 0; i < 4; i++) {
		struct ft_call call = { .main = task_double, .arg = &i, .arg_size = sizeof(i) };
		int failed = ft_pool_submit(pool, &call, &futures[i]);

		if (failed)
			futures[i] = NULL;
		rc = worse(rc, failed);
	}
	for (long i = 0; i < 4; i++)
		if (futures[i])
			rc = worse(rc, take_result(futures[i], i * 2));
	return rc;
}

static int run_pool(uint32_t kind, struct ft_spawner *spawner)
{
	struct ft_pool_options options = pool_options(kind, 2);
	struct ft_pool *pool;

	options.spawner = spawner;
	int rc = ft_pool_open(&pool, &options);

	if (rc)
		return rc;
	rc = run_tasks(pool);
	if (ft_pool_close(pool) || ft_pool_join(pool, ft_after(60 * SECOND)) || ft_pool_free(pool))
		return WRONG;
	return rc;
}

static int act_pool_threads(void)
{
	return run_pool(FT_WORKER_THREAD, NULL);
}

static int act_pool_processes(void)
{
	return run_pool(FT_WORKER_PROCESS, NULL);
}

static int act_pool_spawner(void)
{
	struct ft_spawner_options options = { .size = sizeof(options) };
	struct ft_spawner *spawner;
	int rc = ft_spawner_start(&spawner, &options), stopped;

	if (rc)
		return rc;
	rc = run_pool(FT_WORKER_PROCESS, spawner);
	stopped = ft_spawner_stop(spawner);
	return worse(rc, stopped);
}

static void prepare_nothing(void)
{
}

static const struct scenario scenarios[] = {
	{ "blocks", prepare_nothing, act_blocks, NULL },
	{ "attach", prepare_attach, act_attach, NULL },
	{ "thread", prepare_arena, act_thread, NULL },
	{ "process", prepare_nothing, act_process, NULL },
	{ "spawner", prepare_arena, act_spawner, NULL },
	{ "spawner, program", prepare_program, act_spawner_exec, NULL },
	{ "primitives", prepare_arena, act_primitives, NULL },
	{ "pool, threads", prepare_arena, act_pool_threads, NULL },
	{ "pool, processes", prepare_arena, act_pool_processes, NULL },
	{ "pool, processes", prepare_arena, act_pool_processes, "-io_uring-futex" },
	{ "pool, processes", prepare_arena, act_pool_processes, "-io_uring" },
	{ "pool, spawner", prepare_arena, act_pool_spawner, NULL },
};

/* ---- one run ---- */

static uint32_t entries(const char *path)
{
	DIR *dir = opendir(path);
	uint32_t n = 0;

	REQUIRE(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static uint32_t children(void)
{
	siginfo_t info = { 0 };
	uint32_t n = 0;
	char word[32];
	FILE *file = fopen("/proc/thread-self/children", "r");

	while (file && fscanf(file, "%31s", word) == 1)
		n++;
	if (file)
		fclose(file);
	/* Of other threads too. */
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0)
		n += n == 0;
	return n;
}

static void take_account(struct account *account)
{
	struct ft_arena_info info;

	REQUIRE(ft_arena_info(&info) == 0);
	*account = (struct account){
		.fds = entries("/proc/self/fd"),
		.threads = entries("/proc/self/task"),
		.children = children(),
		.slots = info.slots,
		.blocks = info.blocks,
	};
	snprintf(account->ladder, sizeof(account->ladder), "%s", ft__collector_name());
	REQUIRE(ft_arena_check(NULL) == 0);
}

static bool same_account(const struct account *a, const struct account *b)
{
	return a->fds == b->fds && a->threads == b->threads && a->children == b->children &&
	       a->slots == b->slots && a->blocks == b->blocks;
}

#define LADDERS 3

struct books {
	struct account accounts[LADDERS];
};

static const struct account *account_for(const struct books *books, const char *ladder)
{
	for (int i = 0; i < LADDERS; i++)
		if (!strcmp(books->accounts[i].ladder, ladder))
			return &books->accounts[i];
	return NULL;
}

static bool is_right(const struct books *books, const struct account *account)
{
	const struct account *wanted = account_for(books, account->ladder);

	return wanted && same_account(wanted, account);
}

/* What goes away by itself, like a joined thread's entry in /proc or the
 * supervisor's hold on a worker that has ended, only makes it less. */
static void lessen(struct account *account)
{
	struct account now;

	take_account(&now);
	if (now.fds < account->fds)
		account->fds = now.fds;
	if (now.threads < account->threads)
		account->threads = now.threads;
	if (now.children < account->children)
		account->children = now.children;
	if (now.slots < account->slots)
		account->slots = now.slots;
	if (now.blocks < account->blocks)
		account->blocks = now.blocks;
}

/* Without books this is what they are written from, and has the whole moment. */
static void settle(const struct books *books)
{
	ft_deadline late = ft_after(books ? 2 * SECOND : SECOND / 4);

	take_account(&report->account);
	while (!(books && is_right(books, &report->account)) && ft_now() < late)
		lessen(&report->account);
}

/* In the child. */
static int live(const struct scenario *scenario, const struct books *books, int sock)
{
	if (scenario->probe)
		setenv("FT_PROBE", scenario->probe, 1);
	listener_install(sock);
	scenario->prepare();
	ft__store32_seq_cst(&injection->armed, 1);
	report->first = scenario->act();
	ft__store32_seq_cst(&injection->armed, 0);
	report->reached = 1;
	report->second = scenario->act();
	report->reached = 2;
	settle(books);
	return 0;
}

static int watch_child(pid_t pid, int listener)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), ready = 1;
	struct pollfd poller[2] = { { .fd = listener, .events = POLLIN },
				    { .fd = pidfd, .events = POLLIN } };

	while (ready > 0 && !poller[1].revents) {
		ready = poll(poller, 2, HANG_SECONDS * 1000);
		if (ready > 0 && (poller[0].revents & POLLIN))
			answer_one(listener);
	}
	if (ready == 0)
		kill(pid, SIGKILL);
	close(pidfd);

	int status = child_end(pid);

	return ready == 0 ? -ETIMEDOUT : status;
}

/* The child's exit status, as child_end; -ETIMEDOUT: it hung. */
static int run_one(const struct scenario *scenario, const struct books *books, uint32_t at,
		   uint32_t error)
{
	int sock[2];

	memset(report, 0, sizeof(*report));
	injection->stranger = -1;
	injection->at = at;
	injection->error = error;
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) == 0);

	pid_t pid = fork();

	if (pid == 0) {
		close(sock[0]);
		_exit(live(scenario, books, sock[1]));
	}
	close(sock[1]);

	int listener = receive_listener(sock[0]), rc;

	close(sock[0]);
	rc = listener < 0 ? child_end(pid) : watch_child(pid, listener);
	close(listener);
	return rc;
}

static void account_print(const struct account *a)
{
	print_error("    %u fds, %u threads, %u children, %u slots, %lu blocks, %s\n", a->fds - 3,
		    a->threads - 2, a->children, a->slots, (unsigned long)a->blocks, a->ladder);
}

/* ---- all of them ---- */

/* A failure may send a program down its ladders for good: what is right there
 * tells a run that began there. */
static void books_open(struct books *books, const struct scenario *scenario)
{
	static const char *const probes[LADDERS] = { NULL, "-io_uring-futex", "-io_uring" };

	memset(books, 0, sizeof(*books));
	for (int i = 0; i < LADDERS; i++) {
		struct scenario calm = *scenario;

		if (probes[i])
			calm.probe = probes[i];
		assert_int_equal(run_one(&calm, NULL, 0, 0), 0);
		assert_int_equal(report->first | report->second, 0);
		books->accounts[i] = report->account;
	}
}

static bool is_clean(int rc)
{
	return rc == 0 || (rc < 0 && rc > -4096);
}

static bool judge(const struct books *books, int rc)
{
	return rc == 0 && is_clean(report->first) && report->second == 0 &&
	       injection->stranger < 0 && is_right(books, &report->account);
}

static void complain(const struct scenario *scenario, const struct books *books, int rc)
{
	print_error("%s%s%s: call %u, %s answered %s: child %d, acts %d and %d, reached %u\n",
		    scenario->name, scenario->probe ? ", FT_PROBE=" : "",
		    scenario->probe ? scenario->probe : "", injection->at, injection->name,
		    strerror((int)injection->injected), rc, report->first, report->second,
		    report->reached);
	const struct account *wanted = account_for(books, report->account.ladder);

	if (injection->stranger >= 0)
		print_error("    call number %d is in no table of inject.h\n", injection->stranger);
	if (report->reached == 2 && wanted) {
		account_print(wanted);
		account_print(&report->account);
	}
}

/* With little time one error for each call, another one for the next. */
static void each_call(const struct scenario *scenario)
{
	uint32_t at, runs = 0, failed = 0, told = 0;
	bool all = effort(5) > 1;
	struct books books;

	books_open(&books, scenario);
	for (at = 1;; at++) {
		uint32_t tries = 0;

		do {
			int rc = run_one(scenario, &books, at, all ? tries : at);

			if (!injection->injected)
				break;
			runs++;
			told += report->first < 0;
			if (!judge(&books, rc)) {
				complain(scenario, &books, rc);
				failed++;
			}
		} while (all && ++tries < injection->errors);
		if (!injection->injected)
			break;
	}
	print_message("%-16s %-15s %3u calls, %4u failures, %4u told, %u bad\n", scenario->name,
		      scenario->probe ? scenario->probe : "", at - 1, runs, told, failed);
	assert_int_equal(failed, 0);
	assert_true(runs > 0);
	if (injection->stranger >= 0)
		fail_msg("call number %d is in no table of inject.h", injection->stranger);
}

static void scenario_test(void **state)
{
	each_call(*state);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[sizeof(scenarios) / sizeof(scenarios[0])];
	size_t n = sizeof(scenarios) / sizeof(scenarios[0]), used = 0;

	if (argc > 1 && !strcmp(argv[1], "helper"))
		return mode_helper();
	report = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		return 1;
	injection = &report->injection;
	for (size_t i = 0; i < n; i++)
		if (argc < 2 || !strcmp(argv[1], scenarios[i].name))
			tests[used++] = (struct CMUnitTest){ .name = scenarios[i].name,
							     .test_func = scenario_test,
							     .initial_state =
								     (void *)&scenarios[i] };
	return _cmocka_run_group_tests("fail_syscalls", tests, used, NULL, NULL);
}
