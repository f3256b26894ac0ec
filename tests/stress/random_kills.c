/* SPDX-License-Identifier: MIT */
/*
 * Programs at work, whose workers, spares and helper are killed or stopped for a
 * moment, at any time, and they themselves as well.
 *
 * A program (a child of this one, one after the other) has a pool of workers that
 * an executed helper makes; its tasks take a shared lock, put into a queue and reply.
 * Every task must end, with its result or as lost with its worker; there are never
 * more lost ones than kills.  The program must get on between two kills.  When it
 * was killed, all that it started must be gone; when it was told to leave, it must
 * leave nothing.  FT_SEED chooses the random numbers.
 */
#include <dirent.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include <freethreading.h>

#include "../unit/child.h"
#include "os/atomic.h"
#include "os/clock.h"

#define KILLS 200 /* in make check */
#define SECOND INT64_C(1000000000)
#define PATIENCE (20 * SECOND)
#define SEATS 3
#define BATCH 24
#define CHILDREN 64

/* Between the program and who kills it. */
struct account {
	uint64_t kills;        /* atomic: killer, before each */
	uint64_t done, lost;   /* atomic: program */
	uint32_t stop;         /* atomic: killer */
	pid_t helper;          /* atomic: program */
};
static struct account *account;

/* In the program's arena; tasks get its handle. */
struct shelf {
	struct ft_lock lock;
	struct ft_queue queue;
	uint64_t count;
};

struct errand {
	uint64_t shelf; /* handle */
	uint64_t number;
};

/* ---- workers ---- */

static int run_errand(struct ft_task *task)
{
	struct errand errand;
	struct shelf *shelf;
	void *block, *item;
	size_t size;
	int rc;

	memcpy(&errand, ft_task_arg(task, NULL), sizeof(errand));
	REQUIRE(ft_block_at(errand.shelf, &block) == 0);
	shelf = block;
	rc = ft_lock_acquire(&shelf->lock, ft_after(PATIENCE));
	REQUIRE(rc == 0 || rc == -EOWNERDEAD);
	shelf->count++;
	REQUIRE(ft_lock_release(&shelf->lock) == 0);
	REQUIRE(ft_queue_put(&shelf->queue, &errand.number, 8, ft_after(PATIENCE)) == 0);
	/* Perhaps another one's, perhaps nobody's: who took it may be dead. */
	if (ft_queue_get(&shelf->queue, &item, &size, FT_NOW) == 0)
		REQUIRE(size == 8 && ft_block_free(item) == 0);
	errand.number *= errand.number;
	return ft_task_reply(task, &errand.number, sizeof(errand.number));
}

static int sit(void *ctx, const void *payload, size_t size)
{
	struct ft_seat *seat;
	struct ft_task *task;
	uint64_t handle;
	int rc;

	(void)ctx;
	REQUIRE(size == sizeof(handle));
	memcpy(&handle, payload, sizeof(handle));
	REQUIRE(ft_seat_open(handle, &seat) == 0);
	while ((rc = ft_seat_next(seat, &task, FT_FOREVER)) == 0)
		REQUIRE(ft_task_end(task, run_errand(task)) == 0);
	REQUIRE(rc == -EPIPE && ft_seat_close(seat) == 0);
	return 0;
}

static int be_helper(void)
{
	struct ft_spawner_hooks hooks = { .size = sizeof(hooks), .child = sit };

	return ft_spawner_serve(&hooks) ? 5 : 0;
}

/* ---- the program ---- */

static int start_worker(void *ctx, uint32_t seat, uint64_t handle, const struct ft_cpus *cpus,
			struct ft_worker **worker)
{
	struct ft_worker_options options = {
		.size = sizeof(options),
		.kind = FT_WORKER_PROCESS,
		.cpus = cpus,
		.spawner = ctx,
		.payload = &handle,
		.payload_size = sizeof(handle),
	};

	(void)seat;
	return ft_worker_start(worker, &options, NULL, NULL);
}

static struct ft_spawner *open_spawner(void)
{
	static const char *const argv[] = { "/proc/self/exe", "helper", NULL };
	struct ft_spawner_options options = { .size = sizeof(options), .argv = argv };
	struct ft_spawner *spawner;

	REQUIRE(ft_spawner_start(&spawner, &options) == 0);
	return spawner;
}

static struct ft_pool *open_pool(struct ft_spawner *spawner)
{
	struct ft_pool_options options = {
		.size = sizeof(options),
		.kind = FT_WORKER_PROCESS,
		.workers = SEATS,
		.start = start_worker,
		.start_ctx = spawner,
	};
	struct ft_pool *pool;

	REQUIRE(ft_pool_open(&pool, &options) == 0);
	return pool;
}

static struct shelf *make_shelf(void)
{
	struct shelf *shelf;
	void *block;

	REQUIRE(ft_block_alloc(sizeof(*shelf), &block) == 0);
	memset(block, 0, sizeof(*shelf));
	shelf = block;
	REQUIRE(ft_lock_init(&shelf->lock, FT_SHARED) == 0);
	REQUIRE(ft_queue_init(&shelf->queue, 0, FT_SHARED) == 0);
	return shelf;
}

static void take_result(struct ft_future *future, uint64_t number)
{
	const void *data;
	uint64_t square;
	size_t size;
	int rc = ft_future_wait(future, ft_after(PATIENCE));

	REQUIRE(rc == 0); /* nothing hangs */
	rc = ft_future_result(future, &data, &size);
	if (rc == 0) {
		REQUIRE(size == sizeof(square));
		memcpy(&square, data, sizeof(square));
		REQUIRE(square == number * number);
		ft__add64_seq_cst(&account->done, 1);
	} else {
		struct ft_worker_exit death;

		REQUIRE(rc == -EOWNERDEAD && ft_future_death(future, &death) == 0);
		REQUIRE(death.signo == SIGKILL || !death.known);
		ft__add64_seq_cst(&account->lost, 1);
	}
	ft_future_free(future);
}

static void run_batch(struct ft_pool *pool, struct shelf *shelf, uint64_t *number)
{
	struct ft_future *futures[BATCH];
	struct errand errand = { .shelf = ft_block_handle(shelf) };
	struct ft_call call = { .arg = &errand, .arg_size = sizeof(errand) };

	for (int i = 0; i < BATCH; i++) {
		errand.number = *number + (uint64_t)i;
		REQUIRE(ft_pool_submit(pool, &call, &futures[i]) == 0);
	}
	for (int i = 0; i < BATCH; i++)
		take_result(futures[i], *number + (uint64_t)i);
	*number += BATCH;
}

static void work(struct ft_spawner *spawner)
{
	struct ft_pool *pool = open_pool(spawner);
	struct shelf *shelf = make_shelf();
	uint64_t number = 0;

	while (!ft__load32_seq_cst(&account->stop)) {
		ft__store32_seq_cst((uint32_t *)&account->helper,
				    (uint32_t)ft_spawner_pid(spawner));
		run_batch(pool, shelf, &number);
	}
	REQUIRE(ft_pool_close(pool) == 0);
	REQUIRE(ft_pool_join(pool, ft_after(PATIENCE)) == 0);
	REQUIRE(ft_pool_free(pool) == 0);
	REQUIRE(ft_queue_destroy(&shelf->queue) == 0 && ft_block_free(shelf) == 0);
}

static int be_program(void *arg)
{
	struct ft_arena_info before, after;
	ft_deadline end;
	struct ft_spawner *spawner;

	(void)arg;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	REQUIRE(ft__process() && ft_arena_info(&before) == 0);
	spawner = open_spawner();
	work(spawner);
	REQUIRE(ft_spawner_stop(spawner) == 0);
	/* The slots of those who died by themselves are the supervisor's business; it
	 * has one itself, if it ever had to take a lock. */
	for (end = ft_after(PATIENCE); ft_now() < end; sched_yield()) {
		REQUIRE(ft_arena_info(&after) == 0);
		if (after.slots <= before.slots + 1 && after.blocks == before.blocks)
			break;
	}
	REQUIRE(after.slots <= before.slots + 1 && after.blocks == before.blocks);
	REQUIRE(ft_arena_check(NULL) == 0);
	return 0;
}

/* ---- who kills ---- */

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % sides;
}

static struct {
	unsigned workers, helpers, stops, programs;
} tally;

static int children_of(pid_t pid, pid_t *children)
{
	char path[300];
	struct dirent *entry;
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/children", (int)pid, entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		while (file && n < CHILDREN && fscanf(file, "%d", &children[n]) == 1)
			n++;
		if (file)
			fclose(file);
	}
	if (dir)
		closedir(dir);
	return n;
}

/* The program, or it is over: false. */
static bool gets_on(pid_t program, uint64_t tasks)
{
	uint64_t from = ft__load64_seq_cst(&account->done);
	ft_deadline late = ft_after(PATIENCE);
	struct timespec nap = { .tv_nsec = 100000 };
	siginfo_t info = { 0 };

	while (ft__load64_seq_cst(&account->done) - from < tasks) {
		nanosleep(&nap, NULL);
		waitid(P_PID, (id_t)program, &info, WEXITED | WNOHANG | WNOWAIT);
		if (info.si_pid || ft__passed(late))
			return false;
	}
	return true;
}

static void stop_for_a_moment(pid_t pid)
{
	struct timespec nap = { .tv_nsec = 1000 * (long)dice(2000) };

	kill(pid, SIGSTOP);
	nanosleep(&nap, NULL);
	kill(pid, SIGCONT);
	tally.stops++;
}

static void harm(pid_t program)
{
	pid_t children[CHILDREN], helper;
	int n = children_of(program, children);
	pid_t victim = n ? children[dice((uint32_t)n)] : 0;

	if (!victim)
		return;
	if (dice(8) == 0) {
		stop_for_a_moment(victim);
		return;
	}
	helper = (pid_t)ft__load32_seq_cst((uint32_t *)&account->helper);
	ft__add64_seq_cst(&account->kills, 1);
	kill(victim, SIGKILL);
	tally.helpers += victim == helper;
	tally.workers += victim != helper;
}

/* Those of a program that is dead are ours now, and leave by themselves. */
static bool all_leave(void)
{
	ft_deadline late = ft_after(PATIENCE);
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 || errno == EINTR) {
		if (pid == 0 && ft__passed(late))
			return false;
		sched_yield();
	}
	return true;
}

static bool complain(const char *what)
{
	fprintf(stderr, "%s: %llu done, %llu lost, %llu kills\n", what,
		(unsigned long long)account->done, (unsigned long long)account->lost,
		(unsigned long long)account->kills);
	return false;
}

/* One program's life: up to `most` kills, and perhaps its own.  True: it was as it
 * should be. */
static bool one_life(unsigned most, bool violent)
{
	pid_t program;
	int status = -1;

	memset(account, 0, sizeof(*account));
	program = child_start(be_program, NULL);
	for (unsigned i = 0; i < most; i++) {
		if (!gets_on(program, 1 + dice(2 * BATCH)))
			return complain("the program does not get on");
		harm(program);
	}
	if (violent) {
		tally.programs++;
		kill(program, SIGKILL);
	} else {
		ft__store32_seq_cst(&account->stop, 1);
	}
	status = child_end(program);
	if (status != (violent ? 256 + SIGKILL : 0))
		return complain("the program did not end well");
	if (!all_leave())
		return complain("something outlives its program");
	return account->lost <= account->kills || complain("more tasks lost than kills");
}

static unsigned killed(void)
{
	return tally.workers + tally.helpers + tally.programs;
}

int main(int argc, char **argv)
{
	const char *text = getenv("FT_SEED");
	unsigned wanted = KILLS * effort(100), lives = 0;
	uint64_t first;

	if (argc > 1 && !strcmp(argv[1], "helper"))
		return be_helper();
	seed = first = text ? strtoull(text, NULL, 0) : (uint64_t)getpid();
	account = mmap(NULL, sizeof(*account), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (account == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1))
		return 1;
	for (; killed() < wanted; lives++) {
		if (!one_life(5 + dice(20), dice(2))) {
			printf("FT_SEED=%llu, life %u\n", (unsigned long long)first, lives);
			return 1;
		}
	}
	printf("%u kills: %u workers, %u helpers, %u programs; %u stopped for a moment\n",
	       killed(), tally.workers, tally.helpers, tally.programs, tally.stops);
	return 0;
}
