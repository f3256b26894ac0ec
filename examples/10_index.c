/* SPDX-License-Identifier: MIT */
/*
 * 10_index.c - the main job: count every word of a directory tree with a pool
 * of process workers, and prove the result against a plain count.
 *
 *     cc -std=c11 -O2 10_index.c -lfreethreading -o 10_index
 *     ./10_index [-w WORKERS] [DIR ...]
 *
 * Without DIR it reads /usr/include and /usr/share/doc, those that exist.  The
 * tree is read three times: by this process alone, by one worker and by
 * WORKERS of them (default: as many as this program may use CPUs).  The first
 * reading may also have to wait for the disk, so compare the other two.  Exit
 * status: 0 all three agree, 1 they differ or something failed, 2 usage, 130
 * interrupted by Ctrl-C.
 * 10_index.py does the same in Python and prints the same totals.
 *
 * index/table.h holds the table of tokens, index/count.h counts one file,
 * index/tree.h finds the files; the parallel part is all here.
 *
 * What is counted
 *   A token is a longest run of the bytes A-Z a-z 0-9 _, letters folded to
 *   lower case; of a longer run only the first 64 bytes name it.  Symbolic
 *   links below DIR are not followed.  A file with a NUL byte in its first
 *   8 KiB is binary and not counted.  What was read of a file before a read
 *   error stays counted; the file itself counts as unreadable.
 *
 * How the work is cut
 *   The sorted files form batches of up to 64 files or about 1 MiB; one batch
 *   is one task.  Its argument is the paths, each with its final NUL.  Its
 *   reply is a struct summary followed by `distinct` records:
 *
 *     1 byte    length of the token, 1 to 64
 *     length    the token
 *     1 to 10   its count, 7 bits a byte, low bits first, bit 7: more follow
 *
 *   Replies are merged in the order in which they come.  If a worker dies, its
 *   batch is reported and handed in again; the others are not touched.  A batch
 *   that was lost five times is taken to be what kills the workers: the program
 *   gives up.
 */
#define _DEFAULT_SOURCE
#define _FILE_OFFSET_BITS 64

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <freethreading.h>

#include "index/tree.h"

#define IN_FLIGHT 8 /* batches handed in for each worker */
#define TRIES	  5
#define TOP	  20

static const char *const kind_names[KINDS] = {
    "read", "unreadable", "binary", "empty", "vanished", "symlinks", "special",
};

/* Set by Ctrl-C.  Waits are interruptible, so that it is seen at once. */
static volatile sig_atomic_t interrupted;

static void interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

/* ---- a line on the terminal ---- */

struct progress {
	const struct tree *tree;
	const char *label;
	size_t files;
	uint64_t bytes;
	ft_deadline start, shown;
	int on;
};

static struct progress progress_start(const struct tree *tree, const char *label)
{
	ft_deadline now = ft_now();

	return (struct progress){
	    .tree = tree, .label = label, .start = now, .shown = now, .on = isatty(STDERR_FILENO)};
}

static void progress_add(struct progress *p, const struct batch *batch)
{
	ft_deadline now = ft_now();
	double passed = (double)(now - p->start) / 1e9, left = 0;

	p->files += batch->count;
	p->bytes += batch->bytes;
	if (!p->on || now - p->shown < 100000000)
		return;
	p->shown = now;
	if (p->bytes && p->tree->bytes > p->bytes)
		left = passed * (double)(p->tree->bytes - p->bytes) / (double)p->bytes;
	fprintf(stderr, "\r\033[K%s: %zu/%zu files, %.1f MB/s, %.0f s left", p->label, p->files,
		p->tree->nfiles, (double)p->bytes / 1e6 / passed, left);
}

/* Seconds since the start. */
static double progress_end(struct progress *p)
{
	if (p->on)
		fputs("\r\033[K", stderr);
	return (double)(ft_now() - p->start) / 1e9;
}

/* ---- in a worker: one batch ---- */

static unsigned char *put_number(unsigned char *out, uint64_t number)
{
	for (; number > 127; number >>= 7)
		*out++ = (unsigned char)(number | 128);
	*out++ = (unsigned char)number;
	return out;
}

static int reply(struct ft_task *task, struct tally *tally)
{
	const struct table *table = &tally->table;
	unsigned char *out;
	void *block;
	int rc;

	tally->sum.distinct = table->used;
	rc = ft_block_alloc(sizeof(tally->sum) + table->text_used + 11 * table->used, &block);
	if (rc)
		return rc;
	memcpy(block, &tally->sum, sizeof(tally->sum));
	out = (unsigned char *)block + sizeof(tally->sum);
	for (size_t i = 0; i < table->size; i++) {
		const struct entry *entry = &table->entries[i];

		if (!entry->count)
			continue;
		*out++ = (unsigned char)entry->length;
		memcpy(out, table->text + entry->at, entry->length);
		out = put_number(out + entry->length, entry->count);
	}
	rc = ft_task_reply_block(task, block, (size_t)(out - (unsigned char *)block));
	if (rc)
		ft_block_free(block);
	return rc;
}

static int count_batch(struct ft_task *task)
{
	size_t size;
	const char *path = ft_task_arg(task, &size), *end = path + size;
	struct tally tally = {.table = {.size = 0}};
	int rc = 0;

	for (; path < end && rc == 0; path += strlen(path) + 1)
		rc = count_file(&tally, path);
	if (rc == 0)
		rc = reply(task, &tally);
	table_free(&tally.table);
	return rc;
}

/* ---- in the program: hand in, collect, merge ---- */

struct job {
	const struct tree *tree;
	struct ft_spawner *spawner;
	struct ft_pool *pool;
	struct tally tally;
	struct progress progress;
	size_t handed_in, done, lost;
};

static void add_summary(struct tally *tally, const struct summary *sum)
{
	for (int kind = 0; kind < KINDS; kind++)
		tally->sum.files[kind] += sum->files[kind];
	tally->sum.bytes += sum->bytes;
	tally->sum.tokens += sum->tokens;
}

static const unsigned char *get_number(const unsigned char *in, const unsigned char *end,
				       uint64_t *number)
{
	*number = 0;
	for (unsigned shift = 0; in < end && shift < 64; shift += 7) {
		*number |= (uint64_t)(*in & 127) << shift;
		if (!(*in++ & 128))
			return in;
	}
	return NULL;
}

/* A reply is checked like anything that came from outside: -EPROTO. */
static int merge(struct tally *tally, const void *data, size_t size)
{
	const unsigned char *in = data, *end = in + size;
	struct summary sum;

	if (size < sizeof(sum))
		return -EPROTO;
	memcpy(&sum, data, sizeof(sum));
	in += sizeof(sum);
	for (uint64_t i = 0; i < sum.distinct; i++) {
		const char *token = (const char *)in + 1;
		uint64_t count;
		size_t length;

		if (in >= end || *in == 0 || *in > TOKEN_MAX || end - in <= *in)
			return -EPROTO;
		length = *in;
		in = get_number(in + 1 + length, end, &count);
		if (!in || !count)
			return -EPROTO;
		if (table_add(&tally->table, token, length, count))
			return -ENOMEM;
	}
	add_summary(tally, &sum);
	return in == end ? 0 : -EPROTO;
}

static int hand_in(struct job *job, struct batch *batch)
{
	const struct file *file = &job->tree->files[batch->first];
	struct ft_call call = {.main = count_batch, .user = batch, .flags = FT_CALL_NOTIFY};
	struct ft_future *future;
	char *paths, *out;
	int rc;

	for (size_t i = 0; i < batch->count; i++)
		call.arg_size += strlen(file[i].path) + 1;
	paths = out = malloc(call.arg_size);
	if (!paths)
		return -ENOMEM;
	for (size_t i = 0; i < batch->count; i++)
		out = stpcpy(out, file[i].path) + 1;
	call.arg = paths;
	rc = ft_pool_submit(job->pool, &call, &future);
	free(paths);
	if (rc == 0)
		batch->tries++;
	return rc;
}

static int hand_in_again(struct job *job, struct ft_future *future, struct batch *batch)
{
	const struct file *file = &job->tree->files[batch->first];
	struct ft_worker_exit how;
	int rc = ft_future_death(future, &how);

	if (rc)
		return rc;
	if (job->progress.on)
		fputs("\r\033[K", stderr);
	fprintf(stderr, "lost: task %" PRIu64 " (files %s ... %s), worker pid %d ",
		ft_future_id(future), file[0].path, file[batch->count - 1].path, (int)how.pid);
	if (how.signo)
		fprintf(stderr, "killed by signal %d\n", how.signo);
	else
		fprintf(stderr, "exited with status %d\n", how.code);
	job->lost++;
	return batch->tries < TRIES ? hand_in(job, batch) : -EOWNERDEAD;
}

static int collect_one(struct job *job)
{
	struct ft_future *future;
	struct batch *batch;
	const void *data;
	size_t size;
	int rc = ft_pool_next(job->pool, &future, FT_FOREVER);

	if (rc)
		return rc;
	batch = ft_future_user(future);
	rc = ft_future_result(future, &data, &size);
	if (rc == -EOWNERDEAD) {
		rc = hand_in_again(job, future, batch);
	} else if (rc == 0) {
		rc = merge(&job->tally, data, size);
		progress_add(&job->progress, batch);
		job->done++;
	}
	ft_future_free(future);
	return rc;
}

static int work(struct job *job, size_t in_flight)
{
	const struct tree *tree = job->tree;
	int rc = 0;

	while (rc == 0 && job->done < tree->nbatches) {
		if (interrupted)
			rc = -EINTR;
		else if (job->handed_in < tree->nbatches && job->handed_in - job->done < in_flight)
			rc = hand_in(job, &tree->batches[job->handed_in++]);
		else
			rc = collect_one(job);
	}
	return rc;
}

static void give_up(struct job *job, const char *what, int error)
{
	progress_end(&job->progress);
	ft_spawner_stop(job->spawner);
	if (error == -EINTR)
		exit(130);
	die(what, error);
}

static double count_with_pool(struct job *job, const char *label, unsigned workers)
{
	struct ft_pool_options options = {
	    .size = sizeof(options),
	    .kind = FT_WORKER_PROCESS,
	    .flags = FT_INTERRUPTIBLE,
	    .workers = workers,
	    .place = FT_PLACE_CORES,
	    .name = "index",
	    .spawner = job->spawner,
	};
	double seconds;
	int rc;

	for (size_t i = 0; i < job->tree->nbatches; i++)
		job->tree->batches[i].tries = 0;
	job->progress = progress_start(job->tree, label);
	rc = ft_pool_open(&job->pool, &options);
	if (rc)
		give_up(job, "cannot open a pool", rc);
	rc = work(job, (size_t)workers * IN_FLIGHT);
	seconds = progress_end(&job->progress);
	if (rc)
		ft_pool_terminate(job->pool, 100000000);
	else
		rc = ft_pool_close(job->pool);
	if (ft_pool_join(job->pool, FT_FOREVER) == 0)
		ft_pool_free(job->pool);
	if (rc)
		give_up(job, "the pool failed", rc);
	return seconds;
}

static double count_alone(struct job *job)
{
	const struct tree *tree = job->tree;

	job->progress = progress_start(tree, "no worker");
	for (size_t b = 0; b < tree->nbatches; b++) {
		const struct batch *batch = &tree->batches[b];

		for (size_t i = 0; i < batch->count; i++)
			if (count_file(&job->tally, tree->files[batch->first + i].path))
				give_up(job, "cannot count", -ENOMEM);
		if (interrupted)
			give_up(job, "interrupted", -EINTR);
		progress_add(&job->progress, batch);
	}
	return progress_end(&job->progress);
}

/* ---- the report ---- */

/* Whether a stands before b in the list of the most frequent ones. */
static int before(const char *text, const struct entry *a, const struct entry *b)
{
	uint32_t least = a->length < b->length ? a->length : b->length;
	int order = memcmp(text + a->at, text + b->at, least);

	if (a->count != b->count)
		return a->count > b->count;
	return order ? order < 0 : a->length < b->length;
}

static void print_top(const struct table *table)
{
	struct entry top[TOP + 1];
	size_t count = 0;

	for (size_t i = 0; i < table->size; i++) {
		const struct entry *entry = &table->entries[i];
		size_t at = count;

		if (!entry->count)
			continue;
		for (; at > 0 && before(table->text, entry, &top[at - 1]); at--)
			top[at] = top[at - 1];
		top[at] = *entry;
		count += count < TOP;
	}
	printf("top %zu tokens\n", count);
	for (size_t i = 0; i < count; i++)
		printf("%4zu  %-24.*s %12" PRIu64 "\n", i + 1, (int)top[i].length,
		       table->text + top[i].at, top[i].count);
}

static void print_totals(const struct tree *tree, const struct tally *tally)
{
	uint64_t skipped = 0, files[KINDS];

	for (int kind = READ; kind < KINDS; kind++) {
		files[kind] = tally->sum.files[kind] + tree->skipped[kind];
		skipped += kind == READ ? 0 : files[kind];
	}
	printf("files     %" PRIu64 " read, %" PRIu64 " bytes\n", files[READ], tally->sum.bytes);
	printf("skipped   %" PRIu64 ":", skipped);
	for (int kind = UNREADABLE; kind < KINDS; kind++)
		printf(" %" PRIu64 " %s%s", files[kind], kind_names[kind],
		       kind < KINDS - 1 ? "," : "\n");
	printf("tokens    %" PRIu64 " total, %zu distinct\n", tally->sum.tokens, tally->table.used);
}

static void print_time(const char *label, const struct tally *tally, double seconds)
{
	double files = (double)tally->sum.files[READ], bytes = (double)tally->sum.bytes;

	printf("%-12s %8.3f s %10.0f files/s %9.1f MB/s\n", label, seconds, files / seconds,
	       bytes / 1e6 / seconds);
}

/* An entry of `one` whose count is another in `other`, or NULL. */
static const struct entry *first_difference(const struct table *one, const struct table *other)
{
	for (size_t i = 0; i < one->size; i++) {
		const struct entry *entry = &one->entries[i];

		if (entry->count &&
		    table_count(other, one->text + entry->at, entry->length) != entry->count)
			return entry;
	}
	return NULL;
}

/* Whether both found the same; if not, tells the first difference. */
static int agree(const char *label, const struct tally *plain, const struct tally *pool)
{
	const uint64_t *a = (const uint64_t *)&plain->sum, *b = (const uint64_t *)&pool->sum;
	const struct table *one = &plain->table, *other = &pool->table;
	const struct entry *entry = first_difference(one, other);

	if (!entry) {
		one = &pool->table;
		other = &plain->table;
		entry = first_difference(one, other);
	}
	if (entry) {
		const char *token = one->text + entry->at;

		printf("check: DIFFERENT: \"%.*s\": alone %" PRIu64 ", %s %" PRIu64 "\n",
		       (int)entry->length, token, table_count(&plain->table, token, entry->length),
		       label, table_count(&pool->table, token, entry->length));
		return 0;
	}
	for (size_t i = 0; i < KINDS + 2; i++) {
		if (a[i] == b[i])
			continue;
		printf("check: DIFFERENT: %s: alone %" PRIu64 ", %s %" PRIu64 "\n",
		       i < KINDS    ? kind_names[i]
		       : i == KINDS ? "bytes"
				    : "tokens",
		       a[i], label, b[i]);
		return 0;
	}
	return 1;
}

/* ---- the program ---- */

static int run(struct tree *tree, unsigned workers, struct ft_spawner *spawner)
{
	struct job alone = {.tree = tree, .spawner = spawner}, one = alone, many = alone;
	double alone_s, one_s, many_s;
	char label[32];
	int same;

	snprintf(label, sizeof(label), "%u worker%s", workers, workers == 1 ? "" : "s");
	alone_s = count_alone(&alone);
	one_s = count_with_pool(&one, "1 worker", 1);
	many_s = count_with_pool(&many, label, workers);

	print_totals(tree, &many.tally);
	print_top(&many.tally.table);
	print_time("no worker", &alone.tally, alone_s);
	print_time("1 worker", &one.tally, one_s);
	print_time(label, &many.tally, many_s);
	printf("speed-up over one worker: %.2f\n", one_s / many_s);
	if (one.lost + many.lost)
		printf("batches lost and done again: %zu\n", one.lost + many.lost);
	same =
	    agree("1 worker", &alone.tally, &one.tally) && agree(label, &alone.tally, &many.tally);
	if (same)
		puts("check: identical to the single-process count");
	table_free(&alone.tally.table);
	table_free(&one.tally.table);
	table_free(&many.tally.table);
	return same ? 0 : 1;
}

/* Checks the command line; the DIRs begin at argv[optind]. */
static unsigned workers_option(int argc, char **argv)
{
	unsigned long workers = 0;
	char *end = "";
	int c;

	while ((c = getopt(argc, argv, "w:")) != -1) {
		if (c == 'w')
			workers = strtoul(optarg, &end, 10);
		if (c != 'w' || *end || workers < 1 || workers > 4096) {
			fputs("usage: 10_index [-w WORKERS] [DIR ...]\n", stderr);
			exit(2);
		}
	}
	for (int i = optind; i < argc; i++) {
		if (access(argv[i], F_OK) == 0)
			continue;
		fprintf(stderr, "10_index: %s: %s\n", argv[i], strerror(errno));
		exit(2);
	}
	return workers ? (unsigned)workers : ft_cpu_count();
}

int main(int argc, char **argv)
{
	static char *defaults[] = {"/usr/include", "/usr/share/doc"};
	struct ft_spawner_options options = {.size = sizeof(options)};
	struct sigaction stop = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND};
	unsigned workers = workers_option(argc, argv);
	struct ft_spawner *spawner;
	struct tree tree = {.nfiles = 0};
	int rc, status;

	/* The helper from which workers are cloned is a copy of this program as
	 * it is now: small, with `folded` filled in, and not killed by Ctrl-C. */
	fold_init();
	sigaction(SIGINT, &stop, NULL);
	rc = ft_spawner_start(&spawner, &options);
	if (rc)
		die("cannot start the spawner", rc);
	for (int i = 0; i < 2 && optind == argc; i++)
		if (access(defaults[i], F_OK) == 0)
			tree_walk(&tree, defaults[i]);
	for (int i = optind; i < argc; i++)
		tree_walk(&tree, argv[i]);
	tree_cut(&tree);
	status = run(&tree, workers, spawner);
	tree_free(&tree);
	ft_spawner_stop(spawner);
	return fflush(stdout) ? 1 : status;
}
