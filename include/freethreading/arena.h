/* SPDX-License-Identifier: MIT */
/*
 * The arena: one sparse memfd per program, mapped once by every process of
 * it.  Blocks are pieces of the arena.  They carry their owner, so a dead
 * process leaves none behind.
 *
 *     void *p;
 *     if (ft_block_alloc(sizeof(struct ft_lock), &p) == 0) {
 *             uint64_t h = ft_block_handle(p);     // may travel
 *             ...
 *             ft_block_free(p);
 *     }
 *
 * A block belongs to the process that allocated it, until that process frees
 * it, dies, or gives it away (ft_queue_put_block, a task's result), or until it
 * shares it: then it exists as long as anybody holds it.  Addresses
 * differ between processes; a handle means the same block in every process of
 * the program, and is refused (-ESTALE) once that block was freed, even if its
 * memory is in use again.
 *
 * With a block that begins with an FT_SHARED queue, or is one, go the queue's
 * items: whoever frees the block, or dies with it, or drops it last.
 *
 * All functions are thread-safe.  None is async-signal-safe.  In a child of a
 * plain fork() they return -ECHILD: such a child shares the arena's memory but
 * is no part of the program (see ft_fork in freethreading(7)).
 */
#ifndef FREETHREADING_ARENA_H
#define FREETHREADING_ARENA_H

#include <freethreading/base.h>

FT_BEGIN_DECLS

struct ft_arena_info {
	uint64_t size;       /* bytes of address space reserved */
	uint64_t used;       /* bytes from the start up to the highest span in use */
	uint64_t blocks;     /* blocks that have an owner now */
	uint32_t slots;      /* threads and processes registered now */
	uint32_t generation; /* ABI of the shared pages */
};

/* Creates the program's arena if there is none yet; every other function does
 * so by itself.  0, -ENOMEM, -EMFILE, -EFBIG (RLIMIT_FSIZE leaves no room),
 * -ECHILD. */
FT_API int ft_arena_open(void);

/* Joins the arena behind an inherited descriptor: for a program that was
 * started by exec from one that has an arena.  The library keeps the descriptor
 * on success.  0, -EEXIST (has one already), -EPROTO (other ABI or no arena),
 * -EBADF, -ENOMEM. */
FT_API int ft_arena_attach(int fd);

/* The arena's descriptor (close-on-exec), or -errno.  Do not close it. */
FT_API int ft_arena_fd(void);

FT_API int ft_arena_info(struct ft_arena_info *info);

/* A full consistency check; 0, or -EUCLEAN with the offset of the first wrong
 * block in *where (may be NULL).  For tests and post-mortems: it walks all of
 * the arena, and what it reports is exact only while nobody allocates. */
FT_API int ft_arena_check(uint64_t *where);

/* A block of at least `size` bytes, aligned to 32, contents undefined.
 * 0, -EINVAL (size 0 or absurd), -ENOMEM, -ECHILD. */
FT_API FT_NODISCARD int ft_block_alloc(size_t size, void **block);

/* Gives a block back.  NULL is allowed.  -EINVAL for what is no block,
 * -EPERM for a block that belongs to another process. */
FT_API int ft_block_free(void *block);

/* The size that was asked for, or 0 for what is no block. */
FT_API size_t ft_block_size(const void *block);

/* A block's name for other processes, or 0 for what is no block. */
FT_API uint64_t ft_block_handle(const void *block);

/* The block behind a handle.  0, -EINVAL (never was one), -ESTALE (freed). */
FT_API int ft_block_at(uint64_t handle, void **block);

/* From now on the block is nobody's: it exists as long as a process holds it,
 * or a block that carries it exists.  The caller's process holds it once.  Not
 * for two threads at once.  0, -EINVAL, -EPERM (not the caller's own), -ENOMEM,
 * -ECHILD. */
FT_API int ft_block_share(void *block);

/* The shared block behind a handle, which the caller's process holds from now on
 * (once more).  A process that dies holds nothing.  0, -ESTALE (nobody held it
 * any more), -EPERM (it is not shared), -ENOSPC (millions hold it), -EINVAL, -ENOMEM,
 * -EAGAIN, -ECHILD. */
FT_API FT_NODISCARD int ft_block_hold(uint64_t handle, void **block);

/* The caller's process holds it once less; the last one ends it.  0, -EINVAL,
 * -EPERM (it does not hold it), -ECHILD. */
FT_API int ft_block_drop(void *block);

/* A block of the caller carries shared blocks: as long as it exists, whoever has
 * it then, so do these.  Its size is `size` from now on; their handles stand
 * behind that, so it must have room for count + 1 handles there, from the next
 * multiple of 8 on.  A count of 0 lets go of what it carried.  0, -ENOSPC (also
 * where millions of blocks carry the same one), -ESTALE (one of them is gone: none
 * is carried), -EPERM (it, or one of them, is not what it must be), -EINVAL,
 * -ENOMEM, -EAGAIN, -ECHILD. */
FT_API int ft_block_carry(void *block, size_t size, const uint64_t *handles, size_t count);

FT_END_DECLS

#endif
