/* SPDX-License-Identifier: MIT */
/*
 * Tasks that begin anew when their worker died: lib/pool/harvest.c, deal.c, task.c
 * and member.c, in a pool with retries=RETRIES.
 *
 * A submitter puts TASKS tasks into cells, closes the pool at any time after that,
 * or terminates it, takes in what the workers have pushed, sees deaths, hires, and
 * frees its blocks.  SEATS workers claim tasks, run them, reply with a block, say
 * DONE, and push.  KILLS of them die at any step.  How they are called is told in
 * pool.pml; here they see a task when it is there.
 *
 * Checked: every task ends once; as DONE, and then it was done once, or as lost,
 * and then RETRIES + 1 workers died with it, or as cancelled by terminate; its
 * argument is there in every run; no block is left, no worker, and nothing hangs.
 *
 *   PASS
 *   PASS -DRETRIES=0
 *   PASS -DTASKS=1 -DKILLS=3
 *   LONG PASS -DRETRIES=2 -DKILLS=3
 * Mutants: a task that was DONE when its worker died is done again; nobody counts;
 * its cell is left as it is; the block that the dead gave goes nowhere; workers take
 * arguments; a task begins anew in a pool that is terminated; nobody is hired for a
 * closed pool
 *   FAIL -DAGAIN_DONE
 *   FAIL -DNO_COUNT -DTASKS=1 -DKILLS=3
 *   FAIL -DLEAVE_CELL
 *   FAIL -DKEEP_RESULT
 *   FAIL -DTAKE_ARG
 *   FAIL -DANEW_TERMINATED
 *   FAIL -DHIRE_OPEN
 */
#ifndef TASKS
#define TASKS 2
#endif
#ifndef SEATS
#define SEATS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef RETRIES
#define RETRIES 1
#endif

#define NOBODY 255

mtype = { EMPTY, READY, RUNNING, DONE };	/* a cell */
mtype = { WAITING, DEALT, ENDED, LOST, CANCELLED };	/* a future */
mtype = { OPEN, CLOSING, TERMINATED };

mtype cell[TASKS] = EMPTY;
mtype future[TASKS] = WAITING;
byte retries[TASKS] = RETRIES;
byte seat[TASKS] = NOBODY;	/* of a RUNNING or DONE cell */
bool arg[TASKS] = 1;		/* the block is there, and the program's */
mtype = { NONE, NAMED, GIVEN };
mtype result[TASKS] = NONE;	/* the cell's handle: of a block of the worker's, of ours */
byte done[TASKS], deaths[TASKS], blocks;

mtype state = OPEN;
bool pushed[TASKS];		/* into the channel of its seat's worker */
bool member[SEATS], died[SEATS], left[SEATS];
byte kills = KILLS;

#define STEP \
	if \
	:: atomic { kills > 0 -> kills--; goto dead } \
	:: true \
	fi

#define IS_READY(t) (cell[t] == READY)
#if TASKS == 1
#define ANY_READY IS_READY(0)
#else
#define ANY_READY (IS_READY(0) || IS_READY(1))
#endif
#define OVER(t) (future[t] == ENDED || future[t] == LOST || future[t] == CANCELLED)

proctype Worker(byte me)
{
	byte t;

	do
	:: atomic {
		state != TERMINATED && ANY_READY ->
			t = 0;
			do
			:: !IS_READY(t) -> t++
			:: IS_READY(t) -> break
			:: t < TASKS - 1 && IS_READY(t + 1) -> t++
			od;
			cell[t] = RUNNING; seat[t] = me
		}
		STEP;
		assert(arg[t]);
#ifdef TAKE_ARG
		arg[t] = false;
		STEP;
#endif
		/* The handle, then the gift; with its owner dead, a block that was only
		 * named is freed by who sweeps. */
		atomic { result[t] = NAMED; blocks++ };
		STEP;
		result[t] = GIVEN;
		STEP;
		atomic { cell[t] = DONE; done[t]++ };
		STEP;
		pushed[t] = true;
		STEP;
		t = 0
	:: atomic { state == TERMINATED || (state == CLOSING && !ANY_READY) -> break }
	:: atomic { kills > 0 -> kills--; goto dead }
	od;
	left[me] = true;
	goto over;
dead:
	/* The kernel tells; the supervisor sweeps. */
	atomic {
		if
		:: result[t] == NAMED && seat[t] == me && cell[t] == RUNNING ->
			blocks--; result[t] = NONE
		:: else
		fi;
		t = 0;
		died[me] = true
	}
over:
	skip
}

/* ---- the submitter: each of these under its lock, so in an atomic ---- */

inline free_cell(t)
{
	cell[t] = EMPTY; seat[t] = NOBODY; result[t] = NONE
}

inline drop_result(t)
{
#ifndef KEEP_RESULT
	if
	:: result[t] == GIVEN -> blocks--
	:: else
	fi;
#endif
	result[t] = NONE
}

inline end(t, how)
{
	assert(future[t] == DEALT || future[t] == WAITING);
	future[t] = how;
	arg[t] = false
}

inline end_done(t)
{
	if
	:: state == TERMINATED -> drop_result(t); free_cell(t); end(t, CANCELLED)
	:: else ->
		assert(result[t] == GIVEN);
		blocks--;	/* its user has it, and frees it */
		free_cell(t);
		end(t, ENDED)
	fi
}

inline drain(t, s)
{
	if
	:: pushed[t] && seat[t] == s ->
		pushed[t] = false;
		if
		:: future[t] == DEALT && cell[t] == DONE -> end_done(t)
		:: else
		fi
	:: else
	fi
}

inline after_death(t, s)
{
	if
	:: future[t] != DEALT || seat[t] != s || cell[t] == READY
#ifndef AGAIN_DONE
	:: future[t] == DEALT && seat[t] == s && cell[t] == DONE -> end_done(t)
	:: future[t] == DEALT && seat[t] == s && cell[t] == RUNNING ->
#else
	:: future[t] == DEALT && seat[t] == s && cell[t] != READY ->
#endif
		deaths[t]++;
		drop_result(t);
		if
#ifdef ANEW_TERMINATED
		:: retries[t] > 0 ->
#else
		:: retries[t] > 0 && state != TERMINATED ->
#endif
#ifndef NO_COUNT
			retries[t]--;
#endif
#ifndef LEAVE_CELL
			free_cell(t);
#endif
			future[t] = WAITING
		:: else ->
			free_cell(t);
			if
			:: state == TERMINATED -> end(t, CANCELLED)
			:: else -> end(t, LOST)
			fi
		fi
	fi
}

inline deal(t)
{
	if
	:: future[t] == WAITING && cell[t] == EMPTY && state != TERMINATED ->
		cell[t] = READY; future[t] = DEALT
	:: else
	fi
}

/* ft__tend: what was pushed, deaths, new workers. */
inline tend()
{
	s = 0;
	do
	:: s < SEATS ->
		drain(0, s);
#if TASKS > 1
		drain(1, s);
#endif
		if
		:: member[s] && (died[s] || left[s]) ->
			after_death(0, s);
#if TASKS > 1
			after_death(1, s);
#endif
			member[s] = false; died[s] = false; left[s] = false
		:: else
		fi;
		s++
	:: else -> break
	od;
	deal(0);
#if TASKS > 1
	deal(1);
#endif
	s = 0
}

#if TASKS == 1
#define LIVE_CELLS (cell[0] != EMPTY)
#define ALL_OVER OVER(0)
#define PUSHED pushed[0]
#define BACKLOG (future[0] == WAITING)
#else
#define LIVE_CELLS ((cell[0] != EMPTY) + (cell[1] != EMPTY))
#define ALL_OVER (OVER(0) && OVER(1))
#define PUSHED (pushed[0] || pushed[1])
#define BACKLOG (future[0] == WAITING || future[1] == WAITING)
#endif
#define SEATED (member[0] + member[1])
#define NEWS (PUSHED || (member[0] && (died[0] || left[0])) || \
	      (member[1] && (died[1] || left[1])))

/* has_work and may_hire in member.c. */
#ifdef HIRE_OPEN
#define HIRE (SEATED < SEATS && state == OPEN)
#else
#define HIRE (SEATED < SEATS && (state == OPEN || (state == CLOSING && LIVE_CELLS > SEATED)))
#endif

active proctype Submitter()
{
	byte s, t;
	bool closed, terminates;

	if
	:: terminates = true
	:: true
	fi;
	do
	:: atomic { NEWS || (BACKLOG && state == OPEN && !LIVE_CELLS) -> tend() }
	:: atomic { HIRE ->
		if :: !member[0] -> s = 0 :: else -> s = 1 fi;
		member[s] = true;
		run Worker(s);
		s = 0 }
	/* Told to leave when the backlog is in cells. */
	:: atomic { !closed && !BACKLOG -> closed = true; state = CLOSING }
	/* What no worker has claimed ends at once. */
	:: atomic { closed && state == CLOSING && terminates ->
		state = TERMINATED;
		for (t : 0 .. TASKS - 1) {
			if
			:: future[t] == WAITING -> end(t, CANCELLED)
			:: future[t] == DEALT && cell[t] == READY -> free_cell(t); end(t, CANCELLED)
			:: else
			fi
		}
		t = 0 }
	:: atomic { ALL_OVER && closed && !SEATED && !NEWS -> break }
	od;
	assert(blocks == 0);
	for (t : 0 .. TASKS - 1) {
		assert(future[t] != ENDED || done[t] == 1);
		assert(done[t] <= 1);
		assert(future[t] != LOST || deaths[t] == RETRIES + 1);
		assert(deaths[t] <= RETRIES + 1 && !arg[t])
	}
}
