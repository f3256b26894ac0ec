/* SPDX-License-Identifier: MIT */
/* Opening, joining and leaving the arena. */
#include "mem/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/slot.h"
#include "mem/span.h"
#include "os/memfd.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)
#define GIB (KIB * MIB)
#define SIZE_LEAST (16 * MIB) /* the tables, and something to use */
#define SIZE_SMALL (64 * MIB) /* where halving ends */
#define PAGE (64 * KIB)       /* a multiple of every page size */

struct ft__arena ft__arena = { .fd = -1 };

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static int watching_forks; /* what pthread_atfork said */

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

/* Everything in the header follows from the size, so that a process that joins
 * need not believe anything but the size, which fstat tells. */
static struct ft__arena_header layout(uint64_t size)
{
	struct ft__arena_header h = {
		.magic = FT__ARENA_MAGIC,
		.abi = FT__ARENA_ABI,
		.slots = FT__SLOTS,
		.size = size,
		.slots_at = PAGE,
	};
	uint64_t most = size / FT__SPAN;

	h.hint_words = (most + 63) / 64;
	h.spans_at = round_up(h.slots_at + FT__SLOTS * sizeof(struct ft__slot), PAGE);
	h.hints_at = round_up(h.spans_at + most * 8, PAGE);
	h.data_at = round_up(h.hints_at + h.hint_words * 8 * (FT__CLASSES + 1), FT__SPAN);
	h.spans = (size - h.data_at) / FT__SPAN;
	return h;
}

static bool same_layout(const struct ft__arena_header *a, const struct ft__arena_header *b)
{
	return a->magic == b->magic && a->abi == b->abi && a->slots == b->slots &&
	       a->size == b->size && a->slots_at == b->slots_at && a->spans_at == b->spans_at &&
	       a->hints_at == b->hints_at && a->data_at == b->data_at && a->spans == b->spans &&
	       a->hint_words == b->hint_words;
}

/* "64M", "2G", "1048576"; 0 for what cannot be understood. */
static uint64_t parse_size(const char *text)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return 0;

	uint64_t size = strtoull(text, &end, 10), unit = 1;

	if (*end == 'K' || *end == 'k')
		unit = KIB;
	else if (*end == 'M' || *end == 'm')
		unit = MIB;
	else if (*end == 'G' || *end == 'g')
		unit = GIB;
	if (unit != 1)
		end++;
	if (*end || size > FT__ARENA_MAX / unit)
		return 0;
	return size * unit;
}

/* Twice the memory there is: address space costs nothing, and what can be
 * touched is limited elsewhere. */
static uint64_t wanted_size(void)
{
	uint64_t size = parse_size(getenv("FT_ARENA_SIZE"));

	if (size)
		return round_up(size < SIZE_LEAST ? SIZE_LEAST : size, FT__SPAN);

	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	for (size = 4 * GIB; size < 2 * ram && size < FT__ARENA_MAX;)
		size *= 2;
	return size;
}

/* In three steps, because after mlockall(MCL_FUTURE) a mapping that can be
 * touched would be filled with memory, all of it, at once. */
static void *map(int fd, uint64_t size)
{
	void *base = mmap(NULL, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (base == MAP_FAILED)
		return NULL;
	munlock(base, size);
	if (mprotect(base, size, PROT_READ | PROT_WRITE) != 0) {
		munmap(base, size);
		return NULL;
	}
	/* A core dump of a sparse terabyte helps nobody; may fail unharmed. */
	madvise(base, size, MADV_DONTDUMP);
	return base;
}

/* Fills in the private record; base last, for readers without the mutex. */
static void publish(int fd, char *base, const struct ft__arena_header *h)
{
	ft__arena.fd = fd;
	ft__arena.size = h->size;
	ft__arena.header = (struct ft__arena_header *)base;
	ft__arena.spans = h->spans;
	ft__arena.hint_words = h->hint_words;
	ft__arena.slot = (struct ft__slot *)(base + h->slots_at);
	ft__arena.span = (uint64_t *)(base + h->spans_at);
	ft__arena.hint = (uint64_t *)(base + h->hints_at);
	ft__arena.data = base + h->data_at;
	FT__STORE_POINTER(&ft__arena.base, base); /* pairs with ft__arena_ready */
}

static int create(uint64_t size)
{
	int fd = ft__memfd_create("freethreading", size);

	if (fd < 0)
		return fd;

	char *base = map(fd, size);

	if (!base) {
		close(fd);
		return -ENOMEM;
	}

	struct ft__arena_header h = layout(size);

	memcpy(base, &h, sizeof(h));
	publish(fd, base, &h);
	return 0;
}

/* ulimit -v and ulimit -f are common on clusters: take what they leave. */
static int create_halving(void)
{
	uint64_t size = wanted_size();
	int rc = create(size);

	while ((rc == -ENOMEM || rc == -EFBIG) && size / 2 >= SIZE_SMALL) {
		size = round_up(size / 2, FT__SPAN);
		rc = create(size);
	}
	return rc;
}

static int open_locked(void)
{
	if (watching_forks != 0)
		return -watching_forks;
	pthread_mutex_lock(&opening);

	int rc = ft__arena.base ? 0 : create_halving();

	pthread_mutex_unlock(&opening);
	return rc;
}

int ft__arena_ready(void)
{
	if (FT__UNLIKELY(!FT__LOAD_POINTER(&ft__arena.base))) /* pairs with publish */
		return open_locked();
	return FT__UNLIKELY(ft__arena.forked) ? -ECHILD : 0;
}

int ft_arena_open(void)
{
	return ft__arena_ready();
}

int ft_arena_fd(void)
{
	int rc = ft__arena_ready();

	return rc != 0 ? rc : ft__arena.fd;
}

/* A memfd of ours cannot shrink: a file that can would kill us (SIGBUS). */
static int check_file(int fd, struct ft__arena_header *h)
{
	struct stat st;

	if (fd < 0 || fcntl(fd, F_GETFD) < 0)
		return -EBADF;

	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) != 0)
		return -EPROTO;
	if (st.st_size < (off_t)SIZE_LEAST || st.st_size > (off_t)FT__ARENA_MAX ||
	    (uint64_t)st.st_size % FT__SPAN || pread(fd, h, sizeof(*h), 0) != sizeof(*h))
		return -EPROTO;

	struct ft__arena_header ours = layout((uint64_t)st.st_size);

	return same_layout(h, &ours) ? 0 : -EPROTO;
}

static int attach_locked(int fd)
{
	struct ft__arena_header h;

	if (ft__arena.base)
		return -EEXIST;

	int rc = check_file(fd, &h);

	if (rc != 0)
		return rc;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return -errno;

	char *base = map(fd, h.size);

	if (!base)
		return -ENOMEM;
	publish(fd, base, &h);
	return 0;
}

int ft_arena_attach(int fd)
{
	if (watching_forks != 0)
		return -watching_forks;
	pthread_mutex_lock(&opening);

	int rc = attach_locked(fd);

	pthread_mutex_unlock(&opening);
	return rc;
}

void *ft__at(uint64_t offset, uint64_t size)
{
	char *base = FT__LOAD_POINTER(&ft__arena.base); /* pairs with publish */

	if (!base || offset % 4 || size > ft__arena.size || offset > ft__arena.size - size ||
	    offset < (uint64_t)(ft__arena.data - base))
		return NULL;
	return base + offset;
}

int ft__arena_adopt(uint32_t owner)
{
	if (!FT__LOAD_POINTER(&ft__arena.base)) /* pairs with publish */
		return -EINVAL;
	ft__slot_forget();

	int rc = ft__slot_adopt(owner);

	/* Whom nobody expects is outside. */
	ft__arena.forked = rc != 0;
	return rc;
}

static void before_fork(void)
{
	pthread_mutex_lock(&opening);
}

static void after_fork_parent(void)
{
	pthread_mutex_unlock(&opening);
}

/* A program without an arena has nothing to share: its child may open one. */
static void after_fork_child(void)
{
	pthread_mutex_unlock(&opening);
	ft__arena.forked = ft__arena.base != NULL;
	ft__slot_forget();
}

/* At load time, since a handler that is registered while another thread forks
 * would not run in that child. */
__attribute__((constructor)) static void watch_forks(void)
{
	watching_forks = pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}
