/* SPDX-License-Identifier: MIT */
/*
 * ft_spawner: a small single-threaded helper from which process workers are
 * cloned.  A worker is cloned with CLONE_PARENT, so it is a child of the
 * program and not of the helper: parentage, exit status and death belong to
 * the program.
 *
 * Two sorts:
 *   - argv NULL: the helper is a copy of the program as it is now.  Start it
 *     early, before threads; workers see memory as it was at that moment.
 *   - argv given: the helper is exec'ed fresh and calls ft_spawner_serve().
 *     It inherits the arena, standard streams, and nothing else.
 *
 * One unnamed SOCK_SEQPACKET pair joins program and helper; its end-of-file
 * ends the helper.  A helper that died is started again at the next worker (a
 * copy is then one of the program as it is by then).
 *
 * Where workers are started one soon after the other, an exec'ed helper makes a
 * few ahead: spares, named "ft-spare", which are children of the program and wait
 * for a payload.  None is made before the third start, and those that nobody has
 * asked for in half a second are sent away.
 *
 * Helpers ignore SIGINT.  In workers it is what it was in the program when the
 * copy was made; in those of an exec'ed helper what it was when that began to
 * serve, or the default if it was ignored then.
 *
 * Thread-safe; not async-signal-safe.  In a child of a plain fork(): -ECHILD.
 */
#ifndef FREETHREADING_SPAWNER_H
#define FREETHREADING_SPAWNER_H

#include <freethreading/worker.h>

FT_BEGIN_DECLS

struct ft_spawner_options {
	size_t size;             /* sizeof(struct ft_spawner_options) */
	const char *const *argv; /* NULL: a copy of this program; argv[0] is a path */
	const char *const *envp; /* NULL: this program's environment */
};

/* Strings are copied.  Returns as soon as the helper exists; an exec'ed one
 * gets ready while the program goes on.  0 or -errno. */
FT_API FT_NODISCARD int ft_spawner_start(struct ft_spawner **spawner,
					 const struct ft_spawner_options *options);

/* The helper's pid now, 0 if it is dead and not yet started again. */
FT_API pid_t ft_spawner_pid(const struct ft_spawner *spawner);

/* Ends the helper and frees the handle.  Workers live on. */
FT_API int ft_spawner_stop(struct ft_spawner *spawner);

/* What an exec'ed helper does around each clone; any hook but child may be
 * NULL.  For an interpreter: the before and after parts of its own fork. */
struct ft_spawner_hooks {
	size_t size; /* sizeof(struct ft_spawner_hooks) */
	void *ctx;
	void (*before)(void *ctx);
	void (*parent)(void *ctx);
	/* In the new process, which may be a spare: what needs no payload. */
	void (*ready)(void *ctx);
	/* In the new worker: runs the payload, returns the exit status. */
	int (*child)(void *ctx, const void *payload, size_t size);
};

/* In an exec'ed helper: serves until the program stops it or is gone.
 * 0; -EPROTO: not started by ft_spawner_start; -EBUSY: the helper has become
 * multi-threaded, so that cloning it is not safe.  Only the helper returns:
 * a worker leaves through _exit with what hooks->child returned. */
FT_API int ft_spawner_serve(const struct ft_spawner_hooks *hooks);

FT_END_DECLS

#endif
