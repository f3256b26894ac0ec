/* SPDX-License-Identifier: MIT */
/*
 * Who drives a pool: lib/pool/lead.c.  The threads that wait for results take in
 * what the workers have pushed; one of them leads and sleeps in the collector, the
 * others are parked, and keepers stand aside.
 *
 * WAITERS threads wait for a task each, with LAZY the first of them with a lazy bell.  With KEEPER one more waits for news: it leads as long as there may be
 * some, and stands aside otherwise; NEWS says whether there are at first, and
 * somebody takes them away at any time.  WORKERS processes do the tasks, each those
 * of its number; KILLS of them die at any step, a death being a level that ends the
 * leader's sleep until somebody has looked, who may be another one.  GIVEUPS waiters leave early, by their
 * deadline or a signal.
 *
 * What is under the pool's lock is one step here, but for what the workers may do
 * in between: the bell's words, and what they have pushed.  The bell is as in
 * bell.pml.
 *
 * Checked: when nothing moves any more, everybody who waited for a task has left,
 * and its task has ended; the keeper sleeps, as nobody who leads; it sleeps without
 * a limit only while nothing is going on.  Nobody but a waiter ever leads.
 *
 *   PASS
 *   PASS -DLAZY
 *   PASS -DKEEPER -DWAITERS=1
 *   PASS -DKEEPER -DNEWS -DWAITERS=1
 *   LONG PASS -DWAITERS=3 -DWORKERS=1 -DGIVEUPS=2 -DKILLS=0
 *   LONG PASS -DWORKERS=2
 *   LONG PASS -DKEEPER
 *   LONG PASS -DKEEPER -DNEWS -DLAZY -DKILLS=0
 * Mutants: who leaves does not hand over; hands over to one that stands aside; a
 * keeper stands aside and still leads; a leader looks before it says that it sleeps;
 * it does not look at its turn; who takes a result in wakes nobody; a parked one is
 * woken without its turn; who finds a death first does not ring; nobody fetches a keeper that sleeps without a limit; a
 * newcomer that wants each result does not stir a lazy leader
 *   FAIL -DNO_HAND_OVER
 *   FAIL -DKEEPER -DKILLS=0 -DHAND_ASIDE
 *   FAIL -DKEEPER -DNEWS -DWAITERS=1 -DKEEP_LEAD
 *   FAIL -DLOOK_EARLY
 *   FAIL -DNO_TURN
 *   FAIL -DKEEPER -DNEWS -DWAITERS=1 -DWAKE_NOBODY
 *   FAIL -DWAKE_BARE
 *   FAIL -DNO_AGAIN
 *   FAIL -DKEEPER -DWAITERS=1 -DKILLS=0 -DNO_FETCH
 *   FAIL -DLAZY -DKILLS=0 -DNO_STIR
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef WORKERS
#define WORKERS 1
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef GIVEUPS
#define GIVEUPS 1
#endif

#define K 3		/* the keeper's number */
#define ALL 4
#define NOBODY 15
#define EACH 1
#define SELDOM 2	/* the lazy bell */

bool lock = 0;
byte leader = NOBODY, live = 0, ids = 0, kept = 0;
bool unkept = 0;
byte notify = 0;
bool in[ALL], turn[ALL], asleep[ALL], aside[ALL];
bool parked[ALL];	/* on its turn */
bool listens[ALL];	/* in the collector */
bool limited = 0;	/* the keeper looks again by the clock */

byte word = 0, bell = 0;
bool notice = 0, down[WORKERS];
bool submitted[3], claimed[3], out[3], ended[3], gone[3];
byte kills, giveups;

#define MODE(i) ((i == 0 && lazy0) -> SELDOM : EACH)
#ifdef LAZY
#define lazy0 true
#else
#define lazy0 false
#endif
#define RIPE (out[0] || out[1] || out[2])
#define READY(i) (i != K && ended[i])

inline ring(seldom)
{
	if
	:: bell == EACH || (bell == SELDOM && (seldom)) ->
		bell = 0; word++;
		listens[0] = 0; listens[1] = 0; listens[2] = 0; listens[K] = 0
	:: else
	fi
}

inline wake(i)
{
	if
	:: i == leader -> turn[i] = 1; ring(true)
	:: i != leader && asleep[i] ->
#ifndef WAKE_BARE
		turn[i] = 1;
#endif
		parked[i] = 0
	:: else
	fi;
	asleep[i] = 0
}

inline wake_if_ready(i)
{
	if :: in[i] && asleep[i] && READY(i) -> wake(i) :: else fi
}

inline fetch_keeper()
{
	unkept = 0;
	if :: aside[K] && asleep[K] -> wake(K) :: else fi
}

inline take_in(t)
{
	if
	:: out[t] -> out[t] = 0; ended[t] = 1; live--
	:: !out[t] && notice && claimed[t] && !ended[t] && down[t % WORKERS] ->
		ended[t] = 1; live--
	:: else
	fi
}

inline tend()
{
	take_in(0); take_in(1); take_in(2);
	if
	:: notice ->
		notice = 0; down[0] = 0; down[WORKERS - 1] = 0;
#ifndef NO_AGAIN
		word++;
		listens[0] = 0; listens[1] = 0; listens[2] = 0; listens[K] = 0
#endif
	:: else
	fi;
#ifndef WAKE_NOBODY
	wake_if_ready(0); wake_if_ready(1); wake_if_ready(2)
#endif
}

#ifdef NO_STIR
#define STIR(i) skip
#else
#define STIR(i) \
	if :: MODE(i) == EACH && bell == SELDOM -> ring(true) :: else fi
#endif
#ifdef HAND_ASIDE
#define HEIR(i) in[i]
#else
#define HEIR(i) (in[i] && !aside[i])
#endif

/* To whom is no matter here: to the first in C. */
inline hand_over()
{
	if :: leader == me -> leader = NOBODY :: else fi;
	if
	:: leader == NOBODY && HEIR(0) -> wake(0)
	:: leader == NOBODY && HEIR(1) -> wake(1)
	:: leader == NOBODY && HEIR(2) -> wake(2)
	:: leader == NOBODY && HEIR(K) -> wake(K)
	:: else
	fi
}

#define WANTED \
	(((in[1] || in[2] || (in[K] && !aside[K])) || (in[0] && !lazy0)) -> EACH : SELDOM)

inline park()
{
	atomic { if :: !turn[me] -> parked[me] = 1 :: else fi }
}

/* Under the lock at both ends, and whenever it looks. */
inline lead()
{
	atomic { turn[me] = 0; leader = me; asleep[me] = 1; lock = 0 };
	atomic { !lock -> lock = 1; asleep[me] = 0 };
	seen = word;
#ifdef LOOK_EARLY
	if :: RIPE -> goto again :: else fi;
#endif
	bell = WANTED;
	atomic {
		if
#ifndef NO_TURN
		:: turn[me] || READY(me) -> bell = 0; goto again
#endif
#ifndef LOOK_EARLY
		:: RIPE -> bell = 0; goto again
#endif
		:: else -> asleep[me] = 1; lock = 0
		fi
	};
	atomic { if :: word == seen -> listens[me] = 1 :: else fi }
}

proctype Waiter(byte me)
{
	byte seen;
	bool late = 0;

	atomic {
		!lock -> live++; ids++; submitted[me] = 1;
#ifndef NO_FETCH
		if :: unkept -> fetch_keeper() :: else fi
#endif
	};
	atomic { !lock -> lock = 1; in[me] = 1; STIR(me) };
again:	atomic {
		tend();
		if
		:: ended[me] || late -> goto leave
		:: !ended[me] && !late && leader != NOBODY && leader != me -> goto follow
		:: else
		fi
	};
	lead();
	if
	:: atomic { !listens[me] || notice -> listens[me] = 0; seen = 0 }
	:: atomic { listens[me] && giveups > 0 -> giveups--; late = 1; listens[me] = 0; seen = 0 }
	fi;
	bell = 0;
	atomic { !lock -> lock = 1; asleep[me] = 0 };
	goto again;
follow:	atomic { turn[me] = 0; asleep[me] = 1; lock = 0 };
	park();
	if
	:: atomic { !parked[me] -> skip }
	:: atomic { parked[me] && giveups > 0 -> giveups--; late = 1; parked[me] = 0 }
	fi;
	atomic { !lock -> lock = 1; asleep[me] = 0 };
	goto again;
leave:	atomic {
		in[me] = 0;
#ifndef NO_HAND_OVER
		hand_over();
#else
		if :: leader == me -> leader = NOBODY :: else fi;
#endif
		gone[me] = 1; seen = 0; late = 0; lock = 0
	}
}

#ifdef KEEPER
proctype Keeper(byte me)
{
	byte seen;
	bool quiet;

	atomic { !lock -> lock = 1; in[me] = 1; STIR(me) };
again:	atomic {
		tend();
		if
		:: !notify -> goto stand_aside
		:: notify && leader != NOBODY && leader != me -> goto follow
		:: else
		fi
	};
	lead();
end_leads:
	atomic { !listens[me] || notice -> listens[me] = 0; seen = 0 };
	bell = 0;
	atomic { !lock -> lock = 1; asleep[me] = 0 };
	goto again;
stand_aside:
	atomic {
		quiet = !live && kept == ids;
		kept = ids;
		unkept = unkept || quiet;
		aside[me] = 1;
#ifndef KEEP_LEAD
		hand_over();
#endif
		limited = !quiet;
		quiet = 0
	};
follow:	atomic { turn[me] = 0; asleep[me] = 1; lock = 0 };
	park();
end_follows:
	if
	:: atomic { !parked[me] -> skip }
	/* Nobody who waits needs its clock. */
	:: atomic { timeout && limited -> assert(!in[0] && !in[1] && !in[2]); parked[me] = 0 }
	fi;
	atomic {
		!lock -> lock = 1; asleep[me] = 0; aside[me] = 0; limited = 0;
		if :: notify -> STIR(me) :: else fi
	};
	goto again
}

/* The news are taken away, or there are some after all; or all stays as it is. */
proctype Taker()
{
	if
	:: atomic { !lock -> notify = !notify; if :: notify -> fetch_keeper() :: else fi }
	:: skip
	fi
}
#endif

#define FREE(t) (submitted[t] && !claimed[t])
#ifdef LAZY	/* what many wait for lasts until one has got what it wanted */
#define FREE_0 (FREE(0) && gone[1])
#else
#define FREE_0 FREE(0)
#endif
#define POINT if :: kills > 0 -> goto dies :: skip fi

proctype Worker(byte me)
{
	byte mine, seen;
	bool last;

end:	do
	:: atomic { FREE_0 && 0 % WORKERS == me -> claimed[0] = 1; mine = 0 }; goto work
	:: atomic { FREE(1) && 1 % WORKERS == me -> claimed[1] = 1; mine = 1 }; goto work
	:: atomic { FREE(2) && 2 % WORKERS == me -> claimed[2] = 1; mine = 2 }; goto work
	od;
work:	POINT;
	out[mine] = 1;
	POINT;
	atomic { last = !FREE(0) && !FREE(1) && !FREE(2); seen = bell };
	if
	:: seen == EACH || (seen == SELDOM && last) ->
		atomic { seen = bell; bell = 0 };
		POINT;
		if
		:: seen ->
			word++;
			POINT;
			atomic { listens[0] = 0; listens[1] = 0; listens[2] = 0; listens[K] = 0 };
			POINT
		:: else
		fi
	:: else
	fi;
	atomic { mine = 0; seen = 0; last = 0 };
	goto end;
dies:	atomic { kills--; down[me] = 1; notice = 1; mine = 0; seen = 0; last = 0 };
end_down:
	!down[me];	/* another one in its place */
	goto end
}

proctype Watch()
{
	atomic {
		timeout ->
		assert(!in[0] && !in[1] && !in[2]);
		assert(leader == NOBODY || (leader == K && listens[K]));
		assert(!(aside[K] && asleep[K] && !limited && live))
	}
}

init {
	byte i = 0;
	atomic {
		/* Smaller budgets are cases of their own, see robust_lock.pml. */
		select(kills : 0 .. KILLS);
		select(giveups : 0 .. GIVEUPS);
#ifdef NEWS
		notify = 1;
#endif
		do :: i < WORKERS -> run Worker(i); i++ :: else -> break od;
		i = 0;
		do :: i < WAITERS -> run Waiter(i); i++ :: else -> break od;
#ifdef KEEPER
		run Keeper(K);
		run Taker();
#endif
		run Watch()
	}
}
