/* SPDX-License-Identifier: MIT */
/*
 * The condition of lib/sync/condition.c over a robust lock, killed at any step.
 *
 * WAITERS processes wait, ROUNDS times each, NOTIFIERS notify one waiter, ROUNDS
 * times; up to KILLS die at any step, up to GIVEUPS waits end by timeout or
 * signal.  A supervisor settles each death without the lock.  The lock is taken
 * to be right (robust_lock.pml); whoever gets it next may get it before or after
 * the dead owner was settled.
 *
 * Checked, when nothing moves any more: no waiter sleeps on a notification that
 * it has; every notification was consumed, or died with its receiver while
 * nobody else was waiting.  Then one notify_all must reach everybody, which
 * shows that the list still has all who wait.
 *
 *   PASS
 *   PASS -DKILLS=0 -DROUNDS=2 -DNOTIFIES=2
 *   PASS -DWAITERS=1 -DROUNDS=2 -DNOTIFIES=2 -DKILLS=1
 *   FAIL -DRELEASE_FIRST   the lock is released before the waiter is in the list
 *   FAIL -DCANCEL_STORE    who gives up stores CANCELLED, notified or not
 *   FAIL -DKILLS=0 -DROUNDS=2 -DNOTIFIES=2 -DNO_UNLINK  who gave up leaves its node
 *                          in the list
 *   FAIL -DWAITERS=2 -DROUNDS=2 -DNOTIFIES=2 -DKILLS=1 -DGIVEUPS=0 -DFORWARD_POPPED
 *                          a forwarded waiter stays in the list
 *   FAIL -DNO_BUSY         a list operation cut short is not noticed
 *   FAIL -DSTALE_LINK      links are followed into slots that were settled
 *   FAIL -DNO_FORWARD      a notification dies with its receiver
 *   FAIL -DNO_NOTE         a dead notifier leaves who it did not wake
 *   FAIL -DUNNOTE_EARLY    the note goes before the wake-up that is owed
 *   FAIL -DWAKE_EARLY      a notifier wakes before it says why
 *   FAIL -DPOP_CANCELLED   a waiter that gave up counts as notified
 *
 * -DNESTED: waiters 1 and 2 are one thread; the second is the handler of a signal
 * that came in the middle of a wait of the first.  Both die together.
 *
 *   PASS -DNESTED -DROUNDS=2 -DNOTIFIES=2 -DKILLS=0
 *   PASS -DNESTED -DNOTIFIES=2 -DKILLS=1
 *   LONG PASS -DNESTED -DNOTIFIES=2
 *   FAIL -DNESTED -DNOTIFIES=2 -DKILLS=0 -DONE_NODE   both use the thread's own node
 *   FAIL -DNESTED -DNOTIFIES=2 -DKILLS=1 -DGIVEUPS=0 -DOWN_ONLY
 *                          a death is settled for the thread's own node only
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef NOTIFIERS
#define NOTIFIERS 1
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef GIVEUPS
#define GIVEUPS 1
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef NOTIFIES
#define NOTIFIES 1
#endif
#define N (WAITERS + NOTIFIERS)

#define IDLE 0
#define ARMED 1
#define SLEEPING 2
#define NOTIFIED 3
#define FORWARDED 4
#define CANCELLED 5

byte lock = 0;		/* who holds it */
byte head, tail;
bool busy;
byte word[6], next[6], ticket[6];
bool here[6];		/* the node belongs to the condition */
bool blocked[6];	/* parked on its word */
bool noted[6];		/* journal: notifying */
bool died[6];		/* dead, not settled yet */
bool dead[6];
byte tickets;
byte sent, got, dropped;
byte kills, giveups;

/* NESTED: a signal may come; its handler runs; its thread is over. */
bool signals, handler, ended;
#ifdef ONE_NODE
#define INNER 1
#else
#define INNER 2
#endif

inline die()
{
	atomic {
		kills--; blocked[me] = 0; died[me] = 1; dead[me] = 1;
		if :: handler && me == INNER -> died[1] = 1; dead[1] = 1; blocked[1] = 0 :: else fi;
		goto over
	}
}

#if KILLS > 0
#define POINT if :: kills > 0 -> die() :: skip fi
#else
#define POINT skip
#endif
#define WAITING(i) (here[i] && (word[i] == ARMED || word[i] == SLEEPING))
/* A link holds its own node's id too, so that one load or CAS tells whether it
 * still is that node's. */
#ifdef STALE_LINK
#define GONE 0
#else
#define GONE 9
#endif
#define VALID(i) (next[i] != 9)
#if defined(NO_UNLINK)
#define LINKED(w) (w == FORWARDED)
#elif defined(FORWARD_POPPED)
#define LINKED(w) (w == CANCELLED)
#else
#define LINKED(w) (w == CANCELLED || w == FORWARDED)
#endif

inline acquire()
{
	atomic { lock == 0 || dead[lock] -> lock = me }
}

inline release()
{
	lock = 0
}

/* The first waiter in line behind `last`, by ticket; 0: none. */
inline oldest(last)
{
	i = 1;
	at = 0;
	do
	:: i > N -> break
	:: else ->
		if
		:: WAITING(i) && ticket[i] > last && (at == 0 || ticket[i] < ticket[at]) -> at = i
		:: else
		fi;
		i++
	od
}

inline rebuild()
{
	head = 0; tail = 0; seen = 0;
	do
	:: oldest(seen);
		if
		:: at == 0 -> break
		:: else
		fi;
		seen = ticket[at];
		next[at] = 0;
		if :: tail == 0 -> head = at :: else -> next[tail] = at fi;
		tail = at
	od;
	at = 0; i = 0; seen = 0
}

/* Before the first store of an operation on the list. */
inline enter()
{
	atomic {
#ifndef NO_BUSY
		if :: busy -> rebuild() :: else fi;
#endif
		busy = 1
	}
}

inline append()
{
	assert(head != me && tail != me);
	atomic {
		if
		:: tail != 0 && !VALID(tail) -> rebuild(); goto appended
		:: tail != 0 && VALID(tail) -> next[tail] = me
		:: tail == 0 -> head = me
		fi
	};
	POINT;
	tail = me;
appended:
	skip
}

/* Takes the node out, wherever it is; the list may have no trace of it. */
inline unlink()
{
	atomic {
		at = head; seen = 0;
		do
		:: at == 0 || at == me -> break
		:: else ->
			if
			:: VALID(at) -> seen = at; at = next[at]
			:: else -> rebuild(); at = 0
			fi
		od
	};
	if
	:: at == me ->
		atomic {
			if
			:: seen == 0 -> head = next[me]
			:: seen != 0 && VALID(seen) -> next[seen] = next[me]
			:: else -> rebuild(); goto gone
			fi
		};
		POINT;
		if :: tail == me -> tail = seen :: else fi;
gone:		skip
	:: else
	fi;
	atomic { at = 0; seen = 0 }
}

/* Pops one from the list; `woke` says that it was waiting.  `later`: who is to be
 * woken is owed that, until the lock is released. */
inline pop(later)
{
	atomic {
		woke = 0;
		if :: head != 0 && !VALID(head) -> rebuild() :: else fi;
		at = head
	};
	if
	:: at != 0 ->
#ifdef WAKE_EARLY
		blocked[at] = 0;
#endif
		POINT;
		atomic {
			seen = word[at];
			if
			:: VALID(at) && (seen == ARMED || seen == SLEEPING) ->
				word[at] = NOTIFIED; sent++; woke = 1
#ifdef POP_CANCELLED
			:: seen == CANCELLED -> woke = 1; sent++
#endif
			:: else
			fi
		};
		POINT;
#ifndef WAKE_EARLY
		if
		:: woke && seen == SLEEPING && later -> owed = at
		:: woke && seen == SLEEPING && !later -> blocked[at] = 0
		:: else
		fi;
#endif
		POINT;
		atomic { if :: VALID(at) -> head = next[at] :: else -> rebuild(); goto popped fi };
		POINT;
		if :: head == 0 -> tail = 0 :: else fi;
popped:		skip
	:: else
	fi
}

/* The wait goes on when the handler has returned. */
inline handle()
{
	atomic { signals = 0; blocked[me] = 0; handler = 1 };
	if
	:: dead[me] -> goto over
	:: !handler && !dead[me]
	fi
}

#ifdef NESTED
#define SIGNAL if :: !inner && me == 1 && signals -> handle() :: skip fi
#else
#define SIGNAL skip
#endif

proctype Waiter(byte me; bool inner)
{
	byte at, seen, i, rounds = ROUNDS;

	if
	:: inner && ended && !handler -> goto over
	:: !inner || handler
	fi;
again:	acquire();
	POINT;
	enter();
	POINT;
	atomic { tickets++; ticket[me] = tickets; next[me] = 0; here[me] = 1; word[me] = ARMED };
	POINT;
#ifdef RELEASE_FIRST
	release();
#endif
	append();
	POINT;
	busy = 0;
	POINT;
#ifndef RELEASE_FIRST
	release();
#endif
	POINT;
	SIGNAL;

	atomic { if :: word[me] == ARMED -> word[me] = SLEEPING :: else fi };
	POINT;
park:	atomic { if :: word[me] == SLEEPING -> blocked[me] = 1 :: else fi };
	if
#ifdef NESTED
	:: blocked[me] && !inner && me == 1 && signals -> handle(); goto park
#endif
	:: atomic { !blocked[me] -> skip }
	:: atomic { blocked[me] && giveups > 0 -> giveups--; blocked[me] = 0 }
	:: kills > 0 -> die()
	fi;
	atomic {
		if
#ifdef CANCEL_STORE
		:: word[me] != FORWARDED -> word[me] = CANCELLED
#else
		:: word[me] == SLEEPING -> word[me] = CANCELLED
#endif
		:: else
		fi
	};
	POINT;
	SIGNAL;
	acquire();
	POINT;
	if
:: LINKED(word[me]) -> enter(); POINT; unlink(); POINT; busy = 0
	:: else
	fi;
	POINT;
	atomic {
		if :: word[me] != CANCELLED -> got++ :: else fi;
		word[me] = IDLE
	};
	POINT;
	here[me] = 0;
	POINT;
	release();
	atomic { rounds--; if :: rounds > 0 -> goto again :: else fi };
	/* Its slot is somebody else's. */
	atomic { if :: inner -> next[me] = GONE; handler = 0 :: else fi };
over:	atomic { at = 0; seen = 0; i = 0; rounds = 0; if :: me == 1 && !inner -> ended = 1 :: else fi }
}

proctype Notifier(byte me)
{
	byte at, seen, i, owed, rounds = NOTIFIES;
	bool woke;

again:	acquire();
	POINT;
#ifndef NO_NOTE
	noted[me] = 1;
#endif
	enter();
	do
	:: pop(1);
		if :: at == 0 || woke -> break :: else fi
	od;
	POINT;
	busy = 0;
	POINT;
#ifndef UNNOTE_EARLY
	if :: owed == 0 -> noted[me] = 0 :: else fi;
#else
	noted[me] = 0;
#endif
	release();
	POINT;
	if :: owed != 0 -> blocked[owed] = 0; POINT; noted[me] = 0 :: else fi;
	atomic { rounds--; at = 0; seen = 0; owed = 0; woke = 0; if :: rounds > 0 -> goto again :: else fi };
over:	atomic { at = 0; seen = 0; i = 0; owed = 0; woke = 0; rounds = 0 }
}

inline settle(who)
{
	atomic {
		if
		:: noted[who] ->
			i = 1;
			do
			:: i > N -> break
			:: else -> if :: here[i] && word[i] == NOTIFIED -> blocked[i] = 0 :: else fi; i++
			od
		:: else
		fi;
		noted[who] = 0
	};
	if
	:: here[who] ->
		atomic { seen = word[who]; word[who] = IDLE };
		if
#ifndef NO_FORWARD
		:: seen == NOTIFIED || seen == FORWARDED ->
			do
			:: atomic { oldest(0); i = 0 };
				if
				:: at == 0 -> dropped++; break
				:: else
				fi;
				atomic {
					if
					:: WAITING(at) -> word[at] = FORWARDED; blocked[at] = 0; break
					:: else
					fi
				}
			od
#endif
		:: else
		fi;
		here[who] = 0
	:: else
	fi;
	atomic { next[who] = GONE; ticket[who] = 0; died[who] = 0; at = 0; seen = 0; i = 0 }
}

#define STUCK(i) (blocked[i] && (word[i] == NOTIFIED || word[i] == FORWARDED))

#ifdef NESTED
#define WAITS (2 * ROUNDS)
#else
#define WAITS ROUNDS
#endif

/* Settles; and once nothing moves any more, looks, and lets everybody go. */
proctype Supervisor(byte me)
{
	byte at, seen, i, owed, rounds = WAITS;
	bool woke;

	do
	:: died[1] -> settle(1)
#ifdef OWN_ONLY
	:: died[2] -> died[2] = 0
#else
	:: died[2] -> settle(2)
#endif
	:: died[3] -> settle(3)
	:: died[4] -> settle(4)
	:: timeout -> break
	od;
	assert(!STUCK(1) && !STUCK(2) && !STUCK(3) && !STUCK(4));
	/* A thread whose handler waits has not come to it yet. */
	assert(sent == got + dropped +
	       (handler && !dead[1] && (word[1] == NOTIFIED || word[1] == FORWARDED)));
	atomic { kills = 0; giveups = 0; signals = 0 };
	do
	:: timeout && rounds == 0 -> break
	:: timeout && rounds > 0 ->
		acquire();
		enter();
		do
		:: pop(0);
			if :: at == 0 -> break :: else fi
		od;
		busy = 0;
		release();
		rounds--
	od;
	assert(!blocked[1] && !blocked[2] && !blocked[3] && !blocked[4]);
	assert(sent == got + dropped);
over:	skip
}

init {
	byte i = 1;
	atomic {
		/* Somebody who may still be killed or give up is not stuck in
		 * Spin's eyes, so every smaller budget is a case of its own. */
		select(kills : 0 .. KILLS);
		select(giveups : 0 .. GIVEUPS);
#ifdef NESTED
		if :: signals = 1 :: signals = 0 fi;
#endif
		run Supervisor(5);
#ifdef NESTED
		run Waiter(1, 0);
		run Waiter(INNER, 1);
		i = 3;
#endif
		do :: i <= WAITERS -> run Waiter(i, 0); i++ :: else -> break od;
		do :: i <= N -> run Notifier(i); i++ :: else -> break od
	}
}
