/* SPDX-License-Identifier: MIT */
/*
 * How tasks find workers: lib/pool/{deal,seat,control,member}.c, workers killed
 * at any step.
 *
 * A submitter puts TASKS tasks into the channels of SEATS seats, any of them, and
 * tells a worker; workers take from their own channel, steal from the others',
 * look whether somebody else has to be called, and sleep.  A task runs until no
 * other one waits, or all workers have one: so a task that waits behind it while
 * a worker sleeps is a deadlock.  KILLS workers die at any step; the submitter
 * sees that, ends what they ran, calls everybody and hires again.  At the end it
 * closes the pool, and all workers leave.
 *
 * Checked: every task ends once, by its worker or by its worker's death; all
 * workers leave; whenever nothing moves any more, all that is done.
 *
 *   PASS -DKILLS=0
 *   PASS -DTASKS=1 -DKILLS=2
 *   LONG PASS
 * Mutants:
 *   LONG FAIL -DNO_CALL_ALL   after a death nobody is called
 *   FAIL -DIDLE_LATE       a worker looks first, then says that it sleeps
 *   FAIL -DREAD_LATE       it reads its call word after it said so
 *   FAIL -DNO_TURN_AWAY    who takes a task looks at nothing else
 *   FAIL -DKILLS=0 -DBUSY_ALIKE  the submitter leaves a task to a worker that is busy
 *   LONG FAIL -DPOP_FIRST  a reference leaves its channel before the claim
 *   FAIL -DKILLS=0 -DWAKE_BARE  a call that does not change the word
 *   LONG FAIL -DKEEP_RUNNING  what the dead were running is left as it is
 *   FAIL -DCLOSE_QUIETLY   nobody is called when the pool closes
 */
#ifndef SEATS
#define SEATS 2
#endif
#ifndef TASKS
#define TASKS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif

mtype = { NEW, READY, RUNNING, DONE, LOST };

mtype task[TASKS] = NEW;
byte home[TASKS];	/* the seat whose channel has its reference */
byte runner[TASKS];
bool popped[TASKS];

bool idle[SEATS], busy[SEATS] = 1, parked[SEATS], member[SEATS];
bool called[SEATS];	/* the call word has changed since its worker read it */
byte notice;		/* seats whose worker died, one bit each */
byte left;
bool closing;
byte kills = KILLS;

#define SEEN(s, t) ((seen >> (t)) & 1)

/* A task whose reference the worker has not passed yet. */
#define STIRS(t) (task[t] != NEW && !popped[t] && !SEEN(me, t))
#if TASKS == 1
#define STIRRING STIRS(0)
#define WAITING (task[0] == READY)
#define ENDED (task[0] == DONE || task[0] == LOST)
#elif TASKS == 2
#define STIRRING (STIRS(0) || STIRS(1))
#define WAITING (task[0] == READY || task[1] == READY)
#define ENDED ((task[0] == DONE || task[0] == LOST) && (task[1] == DONE || task[1] == LOST))
#else
#define STIRRING (STIRS(0) || STIRS(1) || STIRS(2))
#define WAITING (task[0] == READY || task[1] == READY || task[2] == READY)
#define ENDED ((task[0] == DONE || task[0] == LOST) && (task[1] == DONE || task[1] == LOST) && \
	       (task[2] == DONE || task[2] == LOST))
#endif

/* Everybody has a task: those that wait wait rightly. */
byte running;
#define FULL (running == SEATS)

#define POINT \
	if \
	:: atomic { kills > 0 -> kills--; goto dead } \
	:: true \
	fi

/* Two steps: a caller may die in between. */
#ifdef WAKE_BARE
#define RAISE(s) skip
#else
#define RAISE(s) called[s] = true
#endif
#define WAKE(s) parked[s] = false

#define CLAIM(t) \
	if \
	:: task[t] == READY -> task[t] = RUNNING; runner[t] = me; running++; mine = true \
	:: else -> mine = false \
	fi

proctype Worker(byte me)
{
	byte seen, at, who, t;
	bool mine;

again:
	busy[me] = false;
	/* Its own channel first, then the others'; what a look finds, the claim
	 * finds as well or not, so that both are one step. */
	do
	:: atomic {
		STIRRING ->
			at = 0;
			do
			:: at < 2 * TASKS && (home[at % TASKS] == me) == (at < TASKS) &&
			   STIRS(at % TASKS) -> break
			:: else -> at++
			od;
			t = at % TASKS;
			at = 0;
#ifndef POP_FIRST
			CLAIM(t)
#endif
		}
#ifdef POP_FIRST
		popped[t] = popped[t] || home[t] == me;
		POINT;
		atomic { CLAIM(t) }
#endif
		POINT;
		if
		:: home[t] == me -> popped[t] = true
		:: else -> seen = seen | (1 << t)
		fi;
		if
		:: mine -> mine = false; goto work
		:: else
		fi
	:: atomic { !STIRRING -> break }
	od;
	if
	:: atomic { closing && !STIRRING -> goto leave }
	:: else
	fi;

	/* to sleep */
#ifndef READ_LATE
	called[me] = false;
#endif
#ifdef IDLE_LATE
	if
	:: STIRRING || closing -> goto again
	:: else
	fi;
	POINT;
	idle[me] = true;
#else
	idle[me] = true;
	POINT;
	if
	:: STIRRING || closing -> goto up
	:: else
	fi;
#endif
#ifdef READ_LATE
	called[me] = false;
#endif
	POINT;
	atomic {
		if
		:: !called[me] -> parked[me] = true
		:: else
		fi
	}
end_asleep:
	if
	:: !parked[me]
	:: atomic { parked[me] && kills > 0 -> kills--; goto dead }
	fi;
up:
	idle[me] = false;
	goto again;

work:
#ifndef NO_TURN_AWAY
	busy[me] = true;
	if
	:: STIRRING ->
		who = 0;
		do
		:: who < SEATS ->
			if
			:: atomic { idle[who] -> idle[who] = false };
				POINT;
				RAISE(who);
				POINT;
				atomic { WAKE(who); who = 0 };
				break
			:: else -> who++
			fi
		:: else -> who = 0; break
		od
	:: else
	fi;
#endif
	if
	:: !WAITING || FULL
	:: atomic { kills > 0 -> kills--; goto dead }
	fi;
	atomic { task[t] = DONE; running--; t = 0 };
	goto again;

leave:
	atomic { busy[me] = true; member[me] = false; left++ }
	goto out;
dead:
	/* What it had claimed is counted off by who sees the death. */
	atomic { parked[me] = false; notice = notice | (1 << me) }
out:
	skip
}

/* Calls the worker of seat s, whose bit the caller took. */
inline tell(s)
{
	RAISE(s);
	WAKE(s)
}

inline call_any()
{
	i = 0;
	do
	:: i < SEATS ->
		if
		:: atomic { idle[i] -> idle[i] = false }; tell(i); break
		:: else -> i++
		fi
	:: else -> break
	od
}

inline call_all()
{
	i = 0;
	do
	:: i < SEATS -> idle[i] = false; tell(i); i++
	:: else -> break
	od
}

/* The kernel says that the worker of seat s is dead. */
inline bury(s)
{
	atomic {
		notice = notice & ~(1 << s);
		i = 0;
		do
		:: i < TASKS ->
			if
			:: task[i] == RUNNING && runner[i] == s ->
				running--;
#ifndef KEEP_RUNNING
				task[i] = LOST
#endif
			:: else
			fi;
			i++
		:: else -> break
		od;
		idle[s] = false;
		busy[s] = true
	}
#ifndef NO_CALL_ALL
	call_all();
#endif
	run Worker(s)
}

inline bury_any()
{
	j = 0;
	do
	:: (notice >> j) & 1 -> bury(j); break
	:: else -> j++
	od
}

active proctype Submitter()
{
	byte i, j, n, s;

	atomic {
		s = 0;
		do
		:: s < SEATS -> member[s] = true; run Worker(s); s++
		:: else -> break
		od
	}
	do
	:: n < TASKS ->
		s = 0;
		do
		:: s < SEATS - 1 -> s++
		:: break
		od;
		atomic { home[n] = s; task[n] = READY }
		if
		:: atomic { idle[s] -> idle[s] = false }; tell(s)
#ifdef BUSY_ALIKE
		:: else
#else
		:: else ->
			if
			:: busy[s] -> call_any()
			:: else
			fi
#endif
		fi;
		n++
	:: notice != 0 -> bury_any()
	:: n == TASKS -> break
	od;
	do
	:: notice != 0 -> bury_any()
	:: ENDED -> break
	od;
	closing = true;
	i = 0;
#ifndef CLOSE_QUIETLY
	do
	:: i < SEATS ->
		if
		:: atomic { idle[i] -> idle[i] = false }; tell(i)
		:: else
		fi;
		i++
	:: else -> break
	od;
#endif
	do
	:: notice != 0 -> bury_any()
	:: left == SEATS -> break
	od;
	assert(running == 0)
}
