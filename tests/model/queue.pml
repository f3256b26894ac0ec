/* SPDX-License-Identifier: MIT */
/*
 * The queue of lib/sync/queue.c, killed at any step.
 *
 * PRODUCERS processes put one item each, CONSUMERS get one each (and answer it
 * with task_done where JOIN is given; then one more process joins).  KILLS of
 * them die at any step, GIVEUPS waits end early.  CAP is the room, 0 for no
 * limit.  The inner lock is robust (robust_lock.pml) and modelled as such: a
 * dead owner's lock opens once the supervisor has marked it.  Nobody but who
 * dies looks into a critical section, so one is a single step with places to
 * die; what others see of it before its end is only `seq`.
 *
 * Checked, whenever nothing moves any more: nobody is parked while there is an
 * item, or room, or nothing unfinished; what is derived agrees with the list;
 * no block in the list still names a dead process when its blocks are freed.
 *
 * Runs
 *   PASS -DCAP=1 -DPRODUCERS=2 -DCONSUMERS=1
 *   PASS -DCAP=0 -DPRODUCERS=1 -DCONSUMERS=2
 *   PASS -DCAP=0 -DPRODUCERS=1 -DCONSUMERS=3 -DKILLS=1 -DGIVEUPS=0
 *   PASS -DCAP=1 -DPRODUCERS=2 -DCONSUMERS=2 -DKILLS=0
 *   PASS -DCAP=0 -DPRODUCERS=1 -DCONSUMERS=1 -DJOIN
 * and mutants: the supervisor marks the lock and does no more; it wakes, but
 * does not raise seq first, which who is about to park misses; it waits for the
 * lock of a queue while another death, of who holds it, waits for it; there is
 * no note while a process is parked
 *   FAIL -DCAP=0 -DPRODUCERS=1 -DCONSUMERS=2 -DNO_RESCUE
 *   FAIL -DCAP=0 -DPRODUCERS=1 -DCONSUMERS=2 -DWAKE_BARE
 *   FAIL -DCAP=1 -DPRODUCERS=2 -DCONSUMERS=1 -DBLIND
 *   FAIL -DCAP=0 -DPRODUCERS=1 -DCONSUMERS=2 -DPARK_UNNOTED
 * seq is read after the lock was left; who gives up always takes a token with
 * it; a wake that found nobody drops all tokens, even those of who came since
 *   FAIL -DCAP=0 -DPRODUCERS=1 -DCONSUMERS=1 -DREAD_LATE
 *   LONG FAIL -DCAP=0 -DPRODUCERS=2 -DCONSUMERS=3 -DKILLS=0 -DTAKE_BACK
 *   FAIL -DCAP=0 -DPRODUCERS=2 -DCONSUMERS=2 -DKILLS=0 -DDROP_TOKENS
 * repair leaves the blocks as it found them; size is stored before unfinished
 *   FAIL -DCAP=0 -DPRODUCERS=1 -DCONSUMERS=1 -DNO_HOLD
 *   FAIL -DCAP=0 -DPRODUCERS=1 -DCONSUMERS=1 -DSIZE_FIRST
 */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef GIVEUPS
#define GIVEUPS 1
#endif

#define NOT_EMPTY 0
#define NOT_FULL 1
#define ALL_DONE 2

byte owner = 0;		/* of the inner lock */
bool ownerDied = 0;	/* DIED */

byte list = 0;		/* items linked */
byte size = 0, unfinished = 0, intent = 0;
byte seq[3], tokens[3];

byte parked[6];		/* 1 + the wait word */
bool noted[6];
bool died[6];
bool marked[6];		/* the supervisor did its first round */
bool half[6];		/* a block is GIVING or TAKING by this process ... */
bool linked[6];		/* ... and is in the list */
byte committed = 0, answered = 0;	/* committed ones */
byte kills, giveups;

#define FULL (CAP > 0 && size >= CAP)

/* Within a critical section. */
#define POINT if :: kills > 0 && me -> kills--; died[me] = 1; goto dead :: skip fi

/* Whoever sleeps, wherever: a waiter looks again anyway. */
inline wake_everybody()
{
#ifdef WAKE_BARE
	if :: me -> seq[0]++; seq[1]++; seq[2]++ :: else fi;
#else
	seq[0]++; seq[1]++; seq[2]++;
#endif
	POINT;
	tokens[0] = 0; tokens[1] = 0; tokens[2] = 0;
	POINT;
	parked[1] = 0; parked[2] = 0; parked[3] = 0; parked[4] = 0; parked[5] = 0
}

#define HOLD(p) half[p] = half[p] && !linked[p]; linked[p] = 0

inline repair()
{
#ifndef NO_HOLD
	HOLD(1); HOLD(2); HOLD(3); HOLD(4); HOLD(5);
	POINT;
#endif
	if :: list == size + 1 -> unfinished = intent :: else fi;
	POINT;
	size = list;
	POINT;
	wake_everybody()
}

/* In an atomic: the first statement waits. */
inline enter()
{
	owner == 0 || ownerDied;
	owner = me;
	if :: ownerDied -> ownerDied = 0; repair() :: else fi
}

inline owe(w)
{
	debt = 0;
	if
	:: tokens[w] > 0 ->
		tokens[w]--;
		POINT;
		seq[w]++;
		POINT;
		debt = 1; debtSeq = seq[w]; debtTokens = tokens[w]
	:: else
	fi
}

inline pay(w)
{
	atomic {
		if
		:: debt ->
			debt = 0;
			if
			:: parked[1] == w + 1 -> parked[1] = 0
			:: parked[2] == w + 1 -> parked[2] = 0
			:: parked[3] == w + 1 -> parked[3] = 0
			:: parked[4] == w + 1 -> parked[4] = 0
			:: parked[5] == w + 1 -> parked[5] = 0
			:: else -> debt = (debtTokens > 0)
			fi;
			POINT
		:: else
		fi
	};
	if
	:: atomic {
		debt -> enter();
		if
#ifdef DROP_TOKENS
		:: tokens[w] = 0
#else
		:: seq[w] == debtSeq && tokens[w] == debtTokens -> tokens[w] = 0
#endif
		:: else
		fi;
		POINT;
		owner = 0;
		debt = 0
	   }
	:: !debt
	fi
}

/* Within the lock, which it leaves; `late`, later, says that it gave up. */
inline wait_for(w)
{
	tokens[w]++;
	mySeq = seq[w];
	POINT;
	owner = 0
}

#define SLEEP(w) \
	atomic { if :: seq[w] == mySeq -> parked[me] = w + 1 :: else fi }; \
endParked: \
	if \
	:: atomic { !parked[me] -> skip } \
	:: atomic { parked[me] && giveups > 0 -> giveups--; parked[me] = 0; late = 1 } \
	:: atomic { kills > 0 -> kills--; parked[me] = 0; died[me] = 1; goto dead } \
	fi; \
	noted[me] = 1

inline token_back(w)
{
#ifdef TAKE_BACK
	if :: late && tokens[w] > 0 -> tokens[w]-- :: else fi;
#else
	if :: late && seq[w] == mySeq && tokens[w] > 0 -> tokens[w]-- :: else fi;
#endif
	POINT
}

#ifdef READ_LATE
#define LEFT(w) mySeq = seq[w];
#else
#define LEFT(w)
#endif
#ifdef PARK_UNNOTED
#define UNNOTE noted[me] = 0;
#else
#define UNNOTE
#endif

proctype Producer(byte me)
{
	byte mySeq, debtSeq, debtTokens;
	bool late, debt;

	noted[me] = 1;
	atomic { enter() };
look:
	atomic {
		if
		:: !FULL ->
			half[me] = 1;
			POINT;
			intent = unfinished + 1;
			POINT;
			list++; linked[me] = 1; committed++;	/* the committing store */
			POINT;
#ifdef SIZE_FIRST
			size++;
			POINT;
			unfinished++;
#else
			unfinished++;
			POINT;
			size++;
#endif
			POINT;
			half[me] = 0; linked[me] = 0;
			POINT;
			owe(NOT_EMPTY);
			owner = 0;
			goto put
		:: FULL && late -> owner = 0; goto out
		:: else -> wait_for(NOT_FULL)
		fi
	};
	LEFT(NOT_FULL)
	UNNOTE
	SLEEP(NOT_FULL);
	atomic { enter(); token_back(NOT_FULL) };
	goto look;
put:
	pay(NOT_EMPTY);
out:
	noted[me] = 0;
dead:	atomic { mySeq = 0; debtSeq = 0; debtTokens = 0; late = 0; debt = 0 }
}

proctype Consumer(byte me)
{
	byte mySeq, debtSeq, debtTokens;
	bool late, debt;

	noted[me] = 1;
	atomic { enter() };
look:
	atomic {
		if
		:: list > 0 ->
			half[me] = 1; linked[me] = 1;
			POINT;
			list--; linked[me] = 0;	/* the committing store */
			POINT;
			size--;
			POINT;
			half[me] = 0;
			POINT;
			owe(NOT_FULL);
			owner = 0;
			goto got
		:: list == 0 && late -> owner = 0; goto out
		:: else -> wait_for(NOT_EMPTY)
		fi
	};
	LEFT(NOT_EMPTY)
	UNNOTE
	SLEEP(NOT_EMPTY);
	atomic { enter(); token_back(NOT_EMPTY) };
	goto look;
got:
	pay(NOT_FULL);
#ifdef JOIN
	atomic {
		enter();
		unfinished--; answered++;
		POINT;
		if
		:: unfinished == 0 && tokens[ALL_DONE] > 0 -> wake_everybody()
		:: else
		fi;
		owner = 0
	};
#endif
out:
	noted[me] = 0;
dead:	atomic { mySeq = 0; debtSeq = 0; debtTokens = 0; late = 0; debt = 0 }
}

proctype Joiner(byte me)
{
	byte mySeq;
	bool late;

	noted[me] = 1;
	atomic { enter() };
look:
	atomic {
		if
		:: unfinished == 0 || late -> owner = 0; goto out
		:: else -> wait_for(ALL_DONE)
		fi
	};
	SLEEP(ALL_DONE);
	atomic { enter(); token_back(ALL_DONE) };
	goto look;
out:
	noted[me] = 0;
dead:	atomic { mySeq = 0; late = 0 }
}

inline settled(d)
{
	assert(!(half[d] && linked[d]));
	half[d] = 0; died[d] = 0; marked[d] = 0; noted[d] = 0
}

/* The second round; `me` is 0, so it does not die. */
inline settle(d)
{
#ifndef NO_RESCUE
	if
	:: noted[d] -> enter(); wake_everybody(); owner = 0
	:: else
	fi;
#endif
	settled(d)
}

#define SLEEPER(w) (parked[1] == w + 1 || parked[2] == w + 1 || parked[3] == w + 1 || \
		    parked[4] == w + 1 || parked[5] == w + 1)
#define ANY(what) (what[1] || what[2] || what[3] || what[4] || what[5])

/* In an atomic, from 1 on: the first such process. */
#define FIND(what) d = 1; do :: !what[d] -> d++ :: else -> break od

proctype Supervisor()
{
	byte me = 0, d;
end:
	do
	:: atomic {
		ANY(died) -> FIND(died);
		if :: owner == d -> ownerDied = 1 :: else fi;
		died[d] = 0; marked[d] = 1
	   }
#ifdef BLIND
	   ;
	   atomic { settle(d); d = 0 }
#else
	:: atomic {
		ANY(marked) && (owner == 0 || ownerDied) -> FIND(marked);
		settle(d);
		d = 0
	   }
#endif
	:: atomic { timeout ->
#ifndef NO_RESCUE
		assert(!ownerDied && owner == 0);
		assert(size == list && unfinished == committed - answered);
#endif
		assert(!SLEEPER(NOT_EMPTY) || list == 0);
		assert(!SLEEPER(NOT_FULL) || FULL);
		assert(!SLEEPER(ALL_DONE) || unfinished > 0);
		break }
	od;
	skip;
dead:	skip
}

init {
	byte i = 1;
	atomic {
		/* Smaller budgets are cases of their own, see robust_lock.pml. */
		select(kills : 0 .. KILLS);
		select(giveups : 0 .. GIVEUPS);
		run Supervisor();
		do
		:: i <= PRODUCERS -> run Producer(i); i++
		:: i > PRODUCERS && i <= PRODUCERS + CONSUMERS -> run Consumer(i); i++
		:: else -> break
		od;
#ifdef JOIN
		run Joiner(5)
#endif
	}
}
