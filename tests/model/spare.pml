/* SPDX-License-Identifier: MIT */
/*
 * Spares of lib/work/spare.c, from the request for one until it has a job
 * (lib/work/mail.c) or is gone; spares and their helper are killed at any step.
 *
 * A program starts JOBS workers one after the other.  For each it takes a spare,
 * or makes a worker in another way (which the model trusts); then it asks the
 * helper for another spare, SPARES in all.  At any time a spare may be stopped or
 * slow, so that the program loses patience, and the clock may send away those
 * that nobody has asked for.  KILLS processes die.
 *
 * Checked: a job is taken once, by a process that bears its name when the start
 * returns; a spare looks at a mailbox only while that, a part of its slot, is its
 * own; the program never hangs; in the end every slot and mailbox is free, and
 * every spare dead and settled.
 *
 *   PASS
 *   PASS -DKILLS=0 -DJOBS=3 -DSPARES=3
 *   PASS -DKILLS=3
 * Mutants: the spare takes a job with a plain store; the program does not look
 * whether it is dead; it takes a job of the dead back without looking whether it
 * was taken; it frees the mailbox when it has posted, or when it has killed the
 * spare; a dead helper's spares are forgotten, or waited for; a spare takes its
 * name after the job
 *   FAIL -DPLAIN_TAKE
 *   FAIL -DNO_LOOK
 *   FAIL -DPLAIN_BACK
 *   FAIL -DFREE_POSTED
 *   FAIL -DFREE_KILLED
 *   FAIL -DLOST_FORGOTTEN
 *   FAIL -DLOST_AWAITED
 *   FAIL -DNAME_LATE
 */
#ifndef SPARES
#define SPARES 2
#endif
#ifndef JOBS
#define JOBS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif

mtype = { NONE, ASKED, READY, DYING };	/* what the program thinks */
mtype = { FREE, RESERVED, LIVE };	/* a slot */
mtype = { EMPTY, POSTED, TAKEN };	/* a mailbox's word */

mtype state[SPARES] = NONE;
mtype slot[SPARES] = FREE;
mtype word[SPARES] = EMPTY;
byte job[SPARES];
bool mail[SPARES];		/* the mailbox is this spare's */
bool born[SPARES], dead[SPARES], named[SPARES], killed[SPARES], settled[SPARES];
byte taken[JOBS];		/* by how many */

bool helper = 1, answered[SPARES];
chan request = [SPARES] of { byte };
byte kills = KILLS;
byte asked = 0;			/* how many spares there were */

/* The kernel: who is killed moves no more. */
#define ME_DEAD killed[me]
#define STEP \
	if \
	:: atomic { kills > 0 -> kills--; dead[me] = 1; goto gone } \
	:: atomic { ME_DEAD -> dead[me] = 1; goto gone } \
	:: !ME_DEAD \
	fi

proctype Spare(byte me)
{
	byte mine;

	STEP;
	/* Adopts its slot, if that is still reserved for it. */
	if
	:: atomic { slot[me] == RESERVED -> slot[me] = LIVE }
	:: atomic { slot[me] == FREE -> dead[me] = 1; settled[me] = 1; goto gone }
	fi;
again:
	STEP;
	if
	:: atomic { word[me] == POSTED && mail[me] -> mine = job[me] }
	:: atomic { !mail[me] && !killed[me] -> assert(false) }
	:: atomic { killed[me] -> dead[me] = 1; goto gone }
	fi;
	STEP;
#ifndef NAME_LATE
	named[me] = 1;
	STEP;
#endif
	atomic {
		assert(mail[me]);
		if
#ifdef PLAIN_TAKE
		:: true ->
#else
		:: word[me] == POSTED ->
#endif
			word[me] = TAKEN;
			taken[mine]++;
			assert(taken[mine] == 1)
		:: else -> goto again
		fi
	}
#ifdef NAME_LATE
	named[me] = 1;
#endif
	/* It runs the job, and leaves. */
	dead[me] = 1;
gone:
	skip
}

proctype Helper()
{
	byte one;

end:	do
	:: atomic { kills > 0 -> kills--; helper = 0; break }
	:: atomic { request ? one -> born[one] = 1; run Spare(one) };
		if
		:: atomic { kills > 0 -> kills--; helper = 0; break }
		:: answered[one] = 1
		fi
	od
}

/* The program's steps on one spare; all of them under the spawner's lock. */

inline ask(i)
{
	if
	:: asked < SPARES && helper ->
		i = asked;
		asked++;
		state[i] = ASKED;
		slot[i] = RESERVED;
		mail[i] = 1;
		request ! i
	:: else
	fi
}

inline send_away(i)
{
	killed[i] = 1;
	state[i] = DYING;
#ifdef FREE_KILLED
	mail[i] = 0
#endif
}

inline arrive(i)
{
	atomic {
		if
		:: state[i] == ASKED && answered[i] -> state[i] = READY
		:: else
		fi
	}
}

/* The helper is dead: the spare was born, or it never will be. */
inline lost(i)
{
	atomic {
		if
		:: state[i] == ASKED && answered[i] -> state[i] = READY
		:: state[i] == ASKED && !answered[i] ->
#ifdef LOST_FORGOTTEN
			slot[i] = FREE; mail[i] = 0; state[i] = NONE
#else
			if
			:: slot[i] == RESERVED -> slot[i] = FREE; mail[i] = 0; state[i] = NONE
			:: slot[i] == LIVE -> state[i] = READY
			fi
#endif
		:: else
		fi
	}
}

/* Dead and watched: the supervisor settles it. */
inline settle(i)
{
	atomic {
		dead[i] && (state[i] == READY || state[i] == DYING) ->
			settled[i] = 1;
			slot[i] = FREE;
			mail[i] = 0;
			state[i] = NONE
	}
}

/* Posts job j to spare i; ok: it was taken. */
inline post(i, j, ok)
{
	ok = 0;
	if
	:: dead[i]
	:: !dead[i] ->
		job[i] = j;
		word[i] = POSTED;
#ifdef FREE_POSTED
		mail[i] = 0;
#endif
		do
		:: atomic { word[i] == TAKEN -> ok = 1 }; break
#ifndef NO_LOOK
		:: dead[i] ->
#ifdef PLAIN_BACK
			word[i] = EMPTY;
			ok = 0;
			break
#else
			atomic {
				if
				:: word[i] == POSTED -> word[i] = EMPTY
				:: word[i] == TAKEN -> ok = 1
				fi
			};
			break
#endif
#endif
		/* It is stopped, or slow. */
		:: atomic { word[i] == POSTED && !dead[i] && patience > 0 ->
				patience--; word[i] = EMPTY }; break
		od
	fi
}

byte patience = 1;

active proctype Program()
{
	byte i, s, j = 0;
	bool ok;

	run Helper();
	do
	:: j < JOBS ->
		ok = 0;
		s = 0;
		do
		:: s < asked && !ok ->
			arrive(s);
			if
			/* It is on its way. */
			:: state[s] == ASKED ->
#ifdef LOST_AWAITED
				answered[s];
#else
				answered[s] || !helper;
#endif
				if
				:: answered[s] -> arrive(s)
				:: else -> lost(s)
				fi
			:: else
			fi;
			if
			:: state[s] == READY ->
				post(s, j, ok);
				if
				:: ok ->
					assert(named[s]);
					mail[s] = 0
				:: else -> send_away(s); s++
				fi
			:: else -> s++
			fi
		:: ok -> break
		:: s >= asked && !ok ->
			/* Made in another way. */
			taken[j]++;
			assert(taken[j] == 1);
			break
		od;
		/* A worker's record has its place now; its end is that worker's. */
		if
		:: ok -> dead[s]; settled[s] = 1; slot[s] = FREE; state[s] = NONE
		:: else
		fi;
		ask(i);
		/* The clock. */
		if
		:: s = 0;
			do
			:: s < asked ->
				arrive(s);
				if
				:: state[s] == READY -> send_away(s)
				:: else
				fi;
				s++
			:: else -> break
			od
		:: true
		fi;
		j++
	:: else -> break
	od;
	/* The spawner is stopped: no more requests, and answers until it is dead. */
	s = 0;
	do
	:: s < asked ->
		if
		:: state[s] == ASKED ->
#ifdef LOST_AWAITED
			answered[s];
#else
			answered[s] || !helper;
#endif
			lost(s)
		:: else
		fi;
		if
		:: state[s] == READY -> send_away(s)
		:: else
		fi;
		if
		:: state[s] == DYING -> settle(s)
		:: else
		fi;
		s++
	:: else -> break
	od;
	for (j : 0 .. JOBS - 1) {
		assert(taken[j] == 1)
	}
	for (s : 0 .. SPARES - 1) {
		assert(slot[s] == FREE && !mail[s] && state[s] == NONE);
		/* Who was born too late finds its slot stale. */
		!born[s] || dead[s];
		assert(!born[s] || settled[s] || slot[s] == FREE)
	}
}
