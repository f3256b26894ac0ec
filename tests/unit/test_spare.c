/* SPDX-License-Identifier: MIT */
/*
 * Spares: workers made ahead by an exec'ed helper, which is this program run with
 * "helper".
 */
#include "worker_tools.h"

#include <sched.h>

#include "mem/slot.h"
#include "os/atomic.h"
#include "os/pages.h"
#include "os/probe.h"
#include "work/mail.h"
#include "work/spare.h"
#include "work/worker.h"

#define ANSWER	    7
#define MANY_STARTS MANY(40)

/* ---- the helper ---- */

static uint32_t runs;

/* What every worker writes to, and whether it was the worker's own before that. */
static _Alignas(65536) char notebook[65536];
static bool came_copied;

static void get_ready(void *ctx)
{
	static struct ft__pages pages;

	(void)ctx;
	runs++;
	if (ft__pages_own(&pages))
		return;
	for (uint32_t i = 0; i < pages.n; i++)
		came_copied |= pages.at[i] == notebook;
	notebook[0]++;
}

struct job {
	uint64_t counter; /* handle */
	unsigned cpus;	  /* if not 0: how many there must be */
	bool wait;	  /* until somebody sets the second word */
};

static int run_hook(void *ctx, const void *payload, size_t size)
{
	struct ft_cpus usable;
	struct job job;
	char name[16];
	void *counter;

	(void)ctx;
	if (size != sizeof(job) || runs != 1)
		return 90;
	memcpy(&job, payload, sizeof(job));
	if (ft_block_at(job.counter, &counter))
		return 91;
	if (job.cpus && (ft_cpus_usable(&usable) || ft_cpus_count(&usable) != job.cpus))
		return 93;
	if (came_copied)
		ft__add32_seq_cst((uint32_t *)counter + 2, 1);
	ft__add32_seq_cst(counter, 1); /* partner: the program's load */
	while (job.wait && !ft__load32_acquire((uint32_t *)counter + 1)) /* partner: its store */
		sched_yield();
	prctl(PR_GET_NAME, name);
	return strncmp(name, "job-", 4) ? 92 : ANSWER;
}

static int helper(void)
{
	struct ft_spawner_hooks hooks = {
	    .size = sizeof(hooks), .ready = get_ready, .child = run_hook};

	notebook[0] = 1;
	return ft_spawner_serve(&hooks) ? 5 : 0;
}

/* ---- what the tests have in common ---- */

struct stage {
	struct ft_spawner *spawner;
	uint32_t *counter; /* jobs that were run */
	struct job job;
	unsigned children;
	struct ft_arena_info arena;
};

static void open_stage(struct stage *stage)
{
	const char *argv[] = {"/proc/self/exe", "helper", NULL};
	struct ft_spawner_options o = {.size = sizeof(o), .argv = argv};
	void *block;

	stage->children = count_children();
	assert_true(ft__process()); /* our own slot is there from now on */
	assert_int_equal(ft_arena_info(&stage->arena), 0);
	assert_int_equal(ft_block_alloc(64, &block), 0);
	stage->counter = block;
	memset(block, 0, 64);
	stage->job = (struct job){.counter = ft_block_handle(block)};
	assert_int_equal(ft_spawner_start(&stage->spawner, &o), 0);
}

static struct ft_worker *start(struct stage *stage, unsigned number, const struct ft_cpus *cpus)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;
	char name[16];

	snprintf(name, sizeof(name), "job-%u", number);
	o.name = name;
	o.cpus = cpus;
	o.spawner = stage->spawner;
	o.payload = &stage->job;
	o.payload_size = sizeof(stage->job);
	assert_int_equal(ft_worker_start(&worker, &o, NULL, NULL), 0);
	return worker;
}

static void finish(struct ft_worker *worker)
{
	struct ft_worker_exit how;

	join_free(worker, &how);
	assert_int_equal(how.signo, 0);
	assert_int_equal(how.code, ANSWER);
	assert_int_equal(strncmp(how.name, "job-", 4), 0);
}

static void run_some(struct stage *stage, unsigned n)
{
	uint32_t before = ft__load32_acquire(stage->counter); /* partner: run_hook */

	for (unsigned i = 0; i < n; i++)
		finish(start(stage, i, NULL));
	assert_int_equal(ft__load32_acquire(stage->counter), before + n); /* partner: run_hook */
}

static bool is_spare(pid_t pid)
{
	char path[64], line[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "r");
	if (file && !fgets(line, sizeof(line), file))
		line[0] = '\0';
	if (file)
		fclose(file);
	return !strcmp(line, FT__SPARE_NAME "\n");
}

/* Up to `most` pids of spares, and how many there are.  The supervisor's thread is
 * the parent of what an exec'ed helper makes. */
static unsigned spares(const struct stage *stage, pid_t *pids, unsigned most)
{
	DIR *dir = opendir("/proc/self/task");
	pid_t helper = ft_spawner_pid(stage->spawner); /* it bears their name to make one */
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[300];
		FILE *file;
		pid_t pid;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/children", entry->d_name);
		file = fopen(path, "r");
		while (file && fscanf(file, "%d", &pid) == 1) {
			if (pid != helper && is_spare(pid) && n++ < most)
				pids[n - 1] = pid;
		}
		if (file)
			fclose(file);
	}
	closedir(dir);
	return n;
}

static unsigned await_spares(const struct stage *stage, pid_t *pids, unsigned most, bool some)
{
	ft_deadline end = ft_after(5 * SECOND);
	unsigned n;

	while (!!(n = spares(stage, pids, most)) != some && ft_now() < end)
		sched_yield();
	assert_int_equal(!!n, some);
	return n < most ? n : most;
}

static void close_stage(struct stage *stage)
{
	struct ft_arena_info after;

	assert_int_equal(ft_spawner_stop(stage->spawner), 0);
	assert_int_equal(ft_block_free(stage->counter), 0);
	/* One that a dying helper has made is seen by the clock only. */
	for (ft_deadline end = ft_after(5 * SECOND);
	     count_children() != stage->children && ft_now() < end;)
		sched_yield();
	assert_int_equal(count_children(), stage->children);
	assert_int_equal(ft_arena_info(&after), 0);
	assert_int_equal(after.blocks, stage->arena.blocks);
	assert_int_equal(after.slots, stage->arena.slots);
	assert_int_equal(ft_arena_check(NULL), 0);
}

/* ---- tests ---- */

static void they_come_with_the_third_start(void **state)
{
	pid_t pids[FT__SPARES];
	struct stage stage;

	(void)state;
	open_stage(&stage);
	run_some(&stage, 2);
	assert_int_equal(spares(&stage, pids, FT__SPARES), 0);
	run_some(&stage, 1);
	await_spares(&stage, pids, FT__SPARES, true);
	for (int i = 0; i < MANY_STARTS; i++) {
		run_some(&stage, 1);
		assert_in_range(spares(&stage, pids, 0), 0, FT__SPARES);
	}
	close_stage(&stage);
}

/* Nothing but the helper and the counter is left. */
static bool is_quiet(const struct stage *stage, unsigned fds)
{
	struct ft_arena_info now;

	assert_int_equal(ft_arena_info(&now), 0);
	return now.slots == stage->arena.slots + 1 && now.blocks == stage->arena.blocks + 1 &&
	       count_children() == stage->children + 1 && count_fds() == fds;
}

static void they_go_when_nobody_asks(void **state)
{
	pid_t pids[FT__SPARES];
	struct stage stage;
	unsigned fds;

	(void)state;
	open_stage(&stage);
	run_some(&stage, 2);
	fds = count_fds();
	for (int round = 0; round < 3; round++) {
		run_some(&stage, 6);
		await_spares(&stage, pids, FT__SPARES, true);
		for (ft_deadline end = ft_after(5 * SECOND);
		     !is_quiet(&stage, fds) && ft_now() < end;)
			sched_yield();
		assert_true(is_quiet(&stage, fds));
	}
	close_stage(&stage);
}

static void signal_spares(struct stage *stage, int signo)
{
	pid_t pids[FT__SPARES];
	unsigned n;

	run_some(stage, 4);
	n = await_spares(stage, pids, FT__SPARES, true);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(kill(pids[i], signo), 0);
}

static void the_dead_are_passed_over(void **state)
{
	struct stage stage;

	(void)state;
	open_stage(&stage);
	for (int i = 0; i < 10; i++) {
		signal_spares(&stage, SIGKILL);
		run_some(&stage, 3);
	}
	close_stage(&stage);
}

/* A job that a stopped one has not taken is taken back. */
static void the_stopped_are_given_up(void **state)
{
	struct stage stage;

	(void)state;
	open_stage(&stage);
	signal_spares(&stage, SIGSTOP);
	run_some(&stage, 3);
	close_stage(&stage);
}

static void they_outlive_their_helper(void **state)
{
	pid_t pids[FT__SPARES], pid;
	struct stage stage;

	(void)state;
	open_stage(&stage);
	for (int i = 0; i < 10; i++) {
		run_some(&stage, 4);
		await_spares(&stage, pids, FT__SPARES, true);
		pid = ft_spawner_pid(stage.spawner);
		assert_true(pid == 0 || kill(pid, SIGKILL) == 0);
		run_some(&stage, 6);
	}
	close_stage(&stage);
}

static void they_take_cpus(void **state)
{
	struct ft_cpus usable, one;
	struct stage stage;
	char list[16];

	(void)state;
	assert_int_equal(ft_cpus_usable(&usable), 0);
	snprintf(list, sizeof(list), "%d", sched_getcpu());
	assert_int_equal(ft_cpus_parse(list, &one), 0);
	open_stage(&stage);
	for (unsigned i = 0; i < 8; i++) {
		stage.job.cpus = i % 2 ? 1 : ft_cpus_count(&usable);
		finish(start(&stage, i, i % 2 ? &one : NULL));
	}
	close_stage(&stage);
}

/* From the moment that the program knows them. */
static void they_bear_the_name_of_the_job(void **state)
{
	struct ft_worker *worker;
	char name[16], comm[32];
	struct stage stage;

	(void)state;
	open_stage(&stage);
	stage.job.wait = true;
	for (unsigned i = 0; i < MANY_STARTS; i++) {
		ft__store32_release(stage.counter + 1, 0); /* partner: run_hook */
		worker = start(&stage, i, NULL);
		proc_line(ft_worker_pid(worker), "comm", comm, sizeof(comm));
		snprintf(name, sizeof(name), "job-%u", i);
		assert_string_equal(comm, name);
		assert_string_equal(ft_worker_name(worker), name);
		ft__store32_release(stage.counter + 1, 1); /* partner: run_hook */
		finish(worker);
	}
	close_stage(&stage);
}

static void many_at_once(void **state)
{
	struct ft_worker *worker[32];
	struct stage stage;

	(void)state;
	open_stage(&stage);
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 32; i++)
			worker[i] = start(&stage, i, NULL);
		for (unsigned i = 0; i < 32; i++)
			finish(worker[i]);
	}
	assert_int_equal(ft__load32_acquire(stage.counter), 96); /* partner: run_hook */
	close_stage(&stage);
}

/* ---- the mailbox by itself ---- */

static int take_one(void *arg)
{
	const struct ft__letter *letter = ft__mail_take(ft__process());
	char name[16];

	(void)arg;
	prctl(PR_GET_NAME, name);
	return letter->size == 5 && !strcmp(name, "taker") ? ANSWER : 1;
}

static struct ft_worker *start_taker(void **letter)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;

	assert_int_equal(ft_block_alloc(sizeof(struct ft__letter) + 5, letter), 0);
	memset(*letter, 0, sizeof(struct ft__letter));
	*(struct ft__letter *)*letter = (struct ft__letter){.size = 5, .name = "taker"};
	assert_int_equal(ft_worker_start(&worker, &o, take_one, NULL), 0);
	return worker;
}

static void a_letter_is_taken(void **state)
{
	struct ft_worker_exit how;
	struct ft_worker *worker;
	void *letter;
	uint32_t owner;

	(void)state;
	worker = start_taker(&letter);
	owner = worker->owner;
	assert_int_equal(ft__slot_of(owner)->mail, 0);
	assert_int_equal(ft__mail_post(owner, ft_block_handle(letter), ft_worker_pidfd(worker)), 0);
	assert_int_equal(ft__slot_of(owner)->mail, (owner & FT__SLOT_GENERATION) | 2);
	join_free(worker, &how);
	assert_int_equal(how.code, ANSWER);
	assert_int_equal(ft_block_free(letter), 0);
}

static void mail_to_nobody_comes_back(void **state)
{
	struct ft_worker *worker;
	void *letter;
	uint32_t owner;

	(void)state;
	worker = start_taker(&letter);
	owner = worker->owner;
	assert_int_equal(ft_worker_kill(worker, SIGSTOP), 0);
	assert_int_equal(ft__mail_post(owner, ft_block_handle(letter), ft_worker_pidfd(worker)),
			 -ETIMEDOUT);
	assert_int_equal(ft__slot_of(owner)->mail, 0);
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	assert_int_equal(dies_within(ft_worker_pidfd(worker), 20000), 1);
	assert_int_equal(ft__mail_post(owner, ft_block_handle(letter), ft_worker_pidfd(worker)),
			 -ESRCH);
	assert_int_equal(ft__slot_of(owner)->mail, 0);
	join_free(worker, NULL);
	assert_int_equal(ft_block_free(letter), 0);
}

/* The helper is dead, and what the spare's slot says is no number of a process: nobody
 * is killed for it, a group of processes least of all. */
static void a_number_is_looked_at(void **state)
{
	pid_t bystander = fork();
	struct ft__stock stock = {0};
	struct ft__spare *spare;
	struct ft__slot *slot;
	uint32_t owner;
	int status;

	(void)state;
	if (bystander == 0)
		for (;;)
			pause();
	assert_int_equal(setpgid(bystander, bystander), 0);
	spare = ft__stock_new(&stock);
	assert_non_null(spare);
	owner = spare->worker->owner;
	slot = ft__slot_of(owner);
	slot->pid = -bystander;
	slot->process = owner;
	slot->word += FT__SLOT_LIVE - FT__SLOT_RESERVED;
	ft__stock_lost(&stock);
	assert_int_equal(ft__stock_count(&stock, FT__SPARE_NONE), FT__SPARES);
	assert_false(ft__slot_alive(owner));
	/* The first signal that it got is the one that it died of. */
	assert_int_equal(kill(bystander, SIGTERM), 0);
	assert_int_equal(waitpid(bystander, &status, 0), bystander);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* What lies in shared pages may be anything. */
static void letters_are_looked_at(void **state)
{
	struct ft__letter *letter;
	void *block;

	(void)state;
	assert_null(ft__letter_at(0));
	assert_null(ft__letter_at(UINT64_C(0x123456789abcdef)));
	assert_int_equal(ft_block_alloc(16, &block), 0);
	assert_null(ft__letter_at(ft_block_handle(block)));
	assert_int_equal(ft_block_free(block), 0);
	assert_int_equal(ft_block_alloc(sizeof(*letter) + 8, &block), 0);
	letter = block;
	letter->size = 8;
	assert_ptr_equal(ft__letter_at(ft_block_handle(block)), letter);
	letter->size = UINT64_MAX;
	assert_null(ft__letter_at(ft_block_handle(block)));
	assert_int_equal(ft_block_free(block), 0);
}

/* The first spare has told which these are; the sixth or so finds them copied. */
static void they_find_their_pages_copied(void **state)
{
	struct stage stage;
	uint32_t copied;

	(void)state;
	open_stage(&stage);
	run_some(&stage, 20);
	copied = ft__load32_acquire(stage.counter + 2); /* partner: run_hook */
	assert_in_range(copied, ft__have(FT__URING) ? 1 : 0, ft__have(FT__URING) ? 18 : 0);
	close_stage(&stage);
}

static void again_with_fork(void **state)
{
	(void)state;
	pass_self("plain", "FT_CLONE", "fork");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(they_come_with_the_third_start),
	    cmocka_unit_test(they_go_when_nobody_asks),
	    cmocka_unit_test(the_dead_are_passed_over),
	    cmocka_unit_test(the_stopped_are_given_up),
	    cmocka_unit_test(they_outlive_their_helper),
	    cmocka_unit_test(they_take_cpus),
	    cmocka_unit_test(they_bear_the_name_of_the_job),
	    cmocka_unit_test(many_at_once),
	    cmocka_unit_test(they_find_their_pages_copied),
	    cmocka_unit_test(a_letter_is_taken),
	    cmocka_unit_test(letters_are_looked_at),
	    cmocka_unit_test(a_number_is_looked_at),
	    cmocka_unit_test(mail_to_nobody_comes_back),
	};
	/* There the helper is the parent, and its children are not listed as ours. */
	const struct CMUnitTest elsewhere[] = {
	    cmocka_unit_test(many_at_once),
	    cmocka_unit_test(they_take_cpus),
	};
	const struct CMUnitTest again[] = {cmocka_unit_test(again_with_fork)};
	const char *how = argc > 1 ? argv[1] : "";

	limit_time();
	if (!strcmp(how, "helper"))
		return helper();
	if (!ft__have(FT__CLONE))
		return cmocka_run_group_tests(elsewhere, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL) +
	       cmocka_run_group_tests(again, NULL, NULL);
}
