/* SPDX-License-Identifier: MIT */
/*
 * Blocks that change hands: the words of lib/mem/block.h, with their owners killed
 * at any step and swept (lib/mem/sweep.c, lib/work/death.c).
 *
 * Processes 1 to PUTTERS allocate a block each and put it into a home, a list
 * under a robust lock (lib/sync/queue.c); GETTERS more take one each out of it
 * and free it.  With TASKS, process N is a worker whose program, which does not
 * die, has given it a task with a block for an argument: it takes the argument or
 * not, and replies with it or with a block of its own (lib/pool/task.c); the
 * program frees the argument by its handle and takes the result in.  With LETTER,
 * the program gives one more block to a worker that it has just started, and
 * then has it watched (lib/work/spawner.c).  KILLS processes die at any step.
 *
 * Checked: a block is one owner's at a time, and never FREE while it is in the
 * home; a taker gets what was put; when nothing moves any more, every block is
 * FREE, or HELD by the home that has it: none is lost, none freed twice.
 *
 *   PASS -DPUTTERS=2 -DGETTERS=1
 *   PASS -DPUTTERS=1 -DGETTERS=2
 *   PASS -DPUTTERS=0 -DGETTERS=0 -DTASKS
 *   PASS -DPUTTERS=0 -DGETTERS=0 -DLETTER
 * Mutants.  A block is linked before it is GIVING; it is HELD before it is linked;
 * it is unlinked before it is TAKING; it is OWNED before it is unlinked; blocks are
 * swept before the home is settled; the home is settled, but nothing in it HELD
 *   FAIL -DPUTTERS=1 -DGETTERS=1 -DGIVE_LATE
 *   FAIL -DPUTTERS=1 -DGETTERS=1 -DHELD_EARLY
 *   FAIL -DPUTTERS=1 -DGETTERS=1 -DTAKE_LATE
 *   FAIL -DPUTTERS=1 -DGETTERS=1 -DTAKEN_EARLY
 *   FAIL -DPUTTERS=1 -DGETTERS=1 -DSWEEP_FIRST
 *   FAIL -DPUTTERS=1 -DGETTERS=1 -DNO_HOLD
 * The handle of a result comes after the gift; handles say nothing of generations;
 * the argument is freed though it is the result; a letter is given to who may
 * have been swept already
 *   FAIL -DPUTTERS=0 -DGETTERS=0 -DTASKS -DHANDLE_LATE
 *   FAIL -DPUTTERS=0 -DGETTERS=0 -DTASKS -DNO_GENERATION
 *   FAIL -DPUTTERS=0 -DGETTERS=0 -DTASKS -DARG_TWICE
 *   FAIL -DPUTTERS=0 -DGETTERS=0 -DLETTER -DGIVE_WATCHED
 */
#ifndef PUTTERS
#define PUTTERS 1
#endif
#ifndef GETTERS
#define GETTERS 1
#endif
#ifndef KILLS
#define KILLS 2
#endif

#define N (PUTTERS + GETTERS + 2)	/* the last two: a task's worker, a letter's */
#define WORKER (N - 1)
#define READER N
#define PROGRAM (N + 1)
#define BLOCKS 3
#define NOBODY 0
#define NONE 255

mtype = { FREE, OWNED, GIVING, HELD, TAKING };

mtype state[BLOCKS] = FREE;
byte owner[BLOCKS], generation[BLOCKS];
bool linked[BLOCKS];
byte user[BLOCKS];		/* who may touch what is in it */

byte lock = NOBODY;
bool lockDied;
bool died[N + 2], marked[N + 2], swept[N + 2];
byte kills = KILLS;

/* The task's cell, the letter's handle. */
mtype = { READY, RUNNING, DONE };
mtype task = READY;
byte arg = NONE, argGeneration, result = NONE, resultGeneration;
bool taken;
bool readerBorn, readerWatched;

#define IS(b, s, o) (state[b] == s && owner[b] == o)
#ifdef NO_GENERATION
#define SAME(b, g) true
#else
#define SAME(b, g) (generation[b] == g)
#endif

#define STEP \
	if \
	:: atomic { kills > 0 && me != PROGRAM -> kills--; goto dead } \
	:: true \
	fi

/* In an atomic: OWNED(me), of any that is FREE.  Lowest first: it is the one that
 * was freed last, which is what finds faults. */
inline alloc(b)
{
	b = 0;
	do
	:: state[b] != FREE -> b++
	:: else -> break
	od;
	assert(b < BLOCKS && !linked[b] && user[b] == NOBODY);
	state[b] = OWNED; owner[b] = me; user[b] = me
}

/* In an atomic. */
inline become_free(b)
{
	assert(!linked[b]);
	state[b] = FREE; owner[b] = NOBODY; user[b] = NOBODY;
	generation[b]++
}

/* In an atomic: it is mine, or something is wrong. */
inline move(b, from, to, who)
{
	assert(IS(b, from, me));
	state[b] = to; owner[b] = who
}

#ifdef NO_HOLD
#define HOLD(b) skip
#else
#define HOLD(b) \
	if \
	:: linked[b] && (state[b] == GIVING || state[b] == TAKING) -> \
		state[b] = HELD; owner[b] = NOBODY \
	:: else \
	fi
#endif

/* In an atomic: the first statement waits. */
inline take_lock()
{
	lock == NOBODY || lockDied;
	lock = me; repairs = lockDied; lockDied = false
}

/* Each hold is a step, and the repairer may die between two. */
inline repair()
{
	if
	:: repairs ->
		STEP; atomic { HOLD(0) };
		STEP; atomic { HOLD(1) };
		STEP; atomic { HOLD(2) };
		repairs = false
	:: else
	fi
}

inline leave()
{
	lock = NOBODY
}

proctype Putter(byte me)
{
	byte b;
	bool repairs;

	atomic { alloc(b) };
	STEP;
	atomic { take_lock() };
	repair();
	STEP;
#if defined(GIVE_LATE)
	atomic { user[b] = NOBODY; linked[b] = true };
	STEP;
	atomic { move(b, OWNED, GIVING, me) };
	STEP;
	atomic { move(b, GIVING, HELD, NOBODY) };
#elif defined(HELD_EARLY)
	atomic { move(b, OWNED, HELD, NOBODY); user[b] = NOBODY };
	STEP;
	linked[b] = true;
#else
	atomic { move(b, OWNED, GIVING, me) };
	STEP;
	atomic { user[b] = NOBODY; linked[b] = true };
	STEP;
	atomic { move(b, GIVING, HELD, NOBODY) };
#endif
	STEP;
	leave();
	goto out;
dead:
	died[me] = true;
out:
	atomic { b = 0; repairs = false }
}

#define ANY_LINKED (linked[0] || linked[1] || linked[2])

proctype Getter(byte me)
{
	byte b;
	bool repairs;

look:
	/* It sleeps until there is something; what came may be gone again. */
endLook:
	ANY_LINKED;
	atomic { take_lock() };
	repair();
	STEP;
	b = 0;
	do
	:: b < BLOCKS && !linked[b] -> b++
	:: else -> break
	od;
	if
	:: b == BLOCKS -> leave(); goto look
	:: else
	fi;
	assert(state[b] == HELD);
#if defined(TAKE_LATE)
	linked[b] = false;
	STEP;
	atomic { state[b] = TAKING; owner[b] = me };
	STEP;
	atomic { move(b, TAKING, OWNED, me); user[b] = me };
#elif defined(TAKEN_EARLY)
	atomic { state[b] = OWNED; owner[b] = me };
	STEP;
	atomic { linked[b] = false; user[b] = me };
#else
	atomic { state[b] = TAKING; owner[b] = me };
	STEP;
	linked[b] = false;
	STEP;
	atomic { move(b, TAKING, OWNED, me); assert(user[b] == NOBODY); user[b] = me };
#endif
	STEP;
	leave();
	STEP;
	atomic { assert(IS(b, OWNED, me) && user[b] == me); become_free(b) };
	goto out;
dead:
	died[me] = true;
out:
	atomic { b = 0; repairs = false }
}

/* A worker with its task. */
proctype Worker(byte me)
{
	byte b = NONE;

	task == READY && arg != NONE;
	task = RUNNING;
	STEP;
	/* ft_task_take: a CAS of the word that the handle names. */
	if
	:: atomic {
		IS(arg, OWNED, PROGRAM) && SAME(arg, argGeneration) ->
			owner[arg] = me; user[arg] = me; taken = true; b = arg
	   }
	:: true
	fi;
	STEP;
	/* Replies with it, or frees it and replies with one of its own, or with a
	 * few bytes. */
	if
	:: b != NONE -> atomic { assert(IS(b, OWNED, me)); become_free(b); b = NONE }
	:: true
	fi;
	STEP;
	if
	:: b == NONE -> atomic { alloc(b) }
	:: true
	fi;
	if
	:: b != NONE ->
		STEP;
#ifndef HANDLE_LATE
		atomic { result = b; resultGeneration = generation[b] };
		STEP;
#endif
		atomic { move(b, OWNED, OWNED, PROGRAM); user[b] = PROGRAM };
#ifdef HANDLE_LATE
		STEP;
		atomic { result = b; resultGeneration = generation[b] };
#endif
	:: else
	fi;
	STEP;
	task = DONE;
	STEP;
	goto out;
dead:
	died[me] = true;
out:
	b = 0
}

/* Somebody who was given a letter at birth. */
proctype Reader(byte me)
{
	STEP;
	readerWatched;
dead:
	died[me] = true
}

/* In an atomic: frees by handle, and only what is ours. */
inline release(b, g)
{
	if
	:: b != NONE && IS(b, OWNED, PROGRAM) && SAME(b, g) -> become_free(b)
	:: else
	fi
}

proctype Program(byte me)
{
	byte b, mine;

#ifdef LETTER
	atomic { alloc(b) };
	readerBorn = true;
	run Reader(READER);
#ifdef GIVE_WATCHED
	readerWatched = true;
#endif
	atomic { move(b, OWNED, OWNED, READER); user[b] = READER };
	readerWatched = true;
#endif
#ifdef TASKS
	atomic { alloc(b); arg = b; argGeneration = generation[b] };
	task == DONE || swept[WORKER];
	/* Meanwhile it works with blocks of its own, perhaps one that it had
	 * before. */
	atomic { alloc(mine) };
	atomic {
		/* result_take and result_drop: the handle names a block, or none. */
		if
		:: result != NONE && state[result] != FREE && SAME(result, resultGeneration)
		:: else -> result = NONE
		fi
	};
#ifdef ARG_TWICE
	atomic { release(arg, argGeneration) };
#else
	atomic {
		if
		:: result == arg && resultGeneration == argGeneration
		:: else -> release(arg, argGeneration)
		fi
	};
#endif
	atomic {
		if
		:: result != NONE ->
			assert(IS(result, OWNED, PROGRAM) && result != mine);
			become_free(result);
		:: else
		fi;
		assert(IS(mine, OWNED, PROGRAM));
		become_free(mine)
	}
#endif
	b = 0; mine = 0
}

#define FIND(what) d = 1; do :: !what[d] -> d++ :: else -> break od

#if PUTTERS + GETTERS == 3
#define ANY(what) (what[1] || what[2] || what[3] || what[4] || what[5])
#elif PUTTERS + GETTERS == 2
#define ANY(what) (what[1] || what[2] || what[3] || what[4])
#else
#define ANY(what) (what[1] || what[2])
#endif

/* Looks, and then a CAS of what it saw. */
inline sweep_one(b)
{
	atomic { seen = state[b]; seenOwner = owner[b]; seenGeneration = generation[b] };
	atomic {
		if
		:: seen != FREE && seenOwner == d && state[b] == seen && owner[b] == d &&
		   generation[b] == seenGeneration ->
			assert(user[b] == d || user[b] == NOBODY);
			become_free(b)
		:: else
		fi
	}
}

inline sweep()
{
	sweep_one(0); sweep_one(1); sweep_one(2)
}

/* A thread of the program. */
proctype Supervisor(byte me)
{
	byte d, seenOwner, seenGeneration, b;
	bool repairs;
	mtype seen;
end:
	do
	:: atomic {
		ANY(died) -> FIND(died);
		if :: lock == d -> lockDied = true :: else fi;
		died[d] = false; marked[d] = true; d = 0
	   }
	/* A lock that cannot be had is another death's, which is marked first. */
	:: atomic { ANY(marked) && (lock == NOBODY || lockDied) &&
		    (!marked[READER] || readerWatched) -> FIND(marked); take_lock() };
#ifdef SWEEP_FIRST
		sweep();
#endif
		repair();
		leave();
#ifndef SWEEP_FIRST
		sweep();
#endif
		atomic { marked[d] = false; swept[d] = true; d = 0; seen = FREE;
			 seenOwner = 0; seenGeneration = 0 }
	:: atomic { timeout ->
		for (b : 0 .. BLOCKS - 1) {
			assert((state[b] == FREE && !linked[b]) || (state[b] == HELD && linked[b]))
		}
		break }
	od;
	skip;
dead:	skip
}

init {
	byte i = 1;

	atomic {
		run Supervisor(PROGRAM);
#if defined(TASKS) || defined(LETTER)
		run Program(PROGRAM);
#endif
#ifdef TASKS
		run Worker(WORKER);
#endif
		do
		:: i <= PUTTERS -> run Putter(i); i++
		:: i > PUTTERS && i <= PUTTERS + GETTERS -> run Getter(i); i++
		:: else -> break
		od
	}
}
