/* SPDX-License-Identifier: MIT */
/*
 * Who is whose when a spawner's helper dies: lib/work/spawner.c, spawner_serve.c,
 * and the supervisor's care for children that nobody expects (supervisor.c).
 *
 * A program starts JOBS workers, one after the other, and joins them in the end.
 * For each it reserves a slot and asks the helper, which clones a child of the
 * program and answers.  A child takes its slot, if that is still reserved for it,
 * runs the job, and leaves.  KILLS of helpers and children die at any step; the
 * program makes another helper once in each start.  NOROOMS times there is no
 * descriptor to know a child by.
 *
 * Checked: a job runs at most once, and not at all if its start failed; a job whose
 * start succeeded ran, or its worker died; starts fail only after a death or for
 * want of a descriptor; nothing hangs; in the end every child is dead and reaped,
 * and every slot free.
 *
 *   PASS
 *   PASS -DJOBS=1 -DKILLS=3
 *   LONG PASS -DJOBS=3
 * Mutants: a child that may have been cloned is not revoked; it is revoked though
 * it has taken its slot; a slot has no generation, so that who comes late takes the
 * next one's; nobody looks for children that nobody expects; who looks does not see
 * those that have slots; the program waits for an answer only; a child that has
 * taken its slot, and cannot be watched, is let alone
 *   FAIL -DNO_REVOKE
 *   FAIL -DPLAIN_REVOKE
 *   FAIL -DNO_GENERATION
 *   FAIL -DNO_STRANGERS
 *   FAIL -DSTRANGERS_BLIND
 *   FAIL -DANSWER_ONLY
 *   FAIL -DNO_BURY
 */
#ifndef JOBS
#define JOBS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef NOROOMS
#define NOROOMS 1
#endif

#define CHILDREN (2 * JOBS)	/* two requests for each job */
#define HELPERS (1 + JOBS)
#define NONE 255

mtype = { FREE, RESERVED, LIVE };	/* a slot */
mtype = { FAILED, STARTED };		/* a job */

#ifdef NO_GENERATION
#define SLOT(c) (c / 2)
#else
#define SLOT(c) c
#endif

mtype slot[CHILDREN] = FREE;
byte taker[CHILDREN] = NONE;		/* a slot's */
bool born[CHILDREN], dead[CHILDREN], reaped[CHILDREN], killed[CHILDREN];
bool watched[CHILDREN], settled[CHILDREN];
byte jobOf[CHILDREN];

byte ran[JOBS];
mtype answer[JOBS];
byte worker[JOBS];

bool alive[HELPERS];
chan request[HELPERS] = [1] of { byte };
chan reply[HELPERS] = [1] of { byte };
bool strangers;
byte kills = KILLS, norooms = NOROOMS;

proctype Child(byte me)
{
	if
	:: atomic { kills > 0 -> kills--; killed[me] = true; goto gone }
	:: atomic { killed[me] -> goto gone }
	/* The letter is its own from here on. */
	:: atomic { slot[SLOT(me)] == RESERVED && !killed[me] ->
			slot[SLOT(me)] = LIVE; taker[SLOT(me)] = me }
	:: atomic { slot[SLOT(me)] != RESERVED && !killed[me] -> goto gone }
	fi;
	if
	:: atomic { kills > 0 -> kills--; killed[me] = true }
	:: atomic { killed[me] -> skip }
	:: atomic { !killed[me] -> ran[jobOf[me]]++; assert(ran[jobOf[me]] == 1) }
	fi;
gone:
	dead[me] = true
}

proctype Helper(byte h)
{
	byte c;

endServe:
	do
	:: atomic { kills > 0 -> kills--; break }
	:: atomic { !alive[h] -> break }
	:: atomic { request[h] ? c -> skip };
		if
		:: atomic { kills > 0 -> kills--; break }
		:: atomic { born[c] = true; run Child(c) }
		fi;
		if
		:: atomic { kills > 0 -> kills--; break }
		:: reply[h] ! c
		fi
	od;
	atomic { alive[h] = false; c = 0 }
}

/* The kernel has no room for a descriptor, or has; the one that comes with an answer
 * is one for who is reaped already, too. */
inline open_pidfd(c, there)
{
	if
	:: atomic { norooms > 0 -> norooms--; room = false }
	:: room = there
	fi
}

/* ft__supervisor_bury: killed and waited for here. */
inline bury(c)
{
	killed[c] = true;
	atomic { dead[c] -> reaped[c] = true; slot[SLOT(c)] = FREE; settled[c] = true }
}

inline accept(c)
{
	open_pidfd(c, true);
	if
	:: room -> atomic { watched[c] = true; worker[j] = c; answer[j] = STARTED }
	:: else -> bury(c); answer[j] = FAILED
	fi
}

/* The helper is dead, and has not answered: true in `ours` if the child is. */
inline revoke(c)
{
#if defined(NO_REVOKE)
	ours = false; strangers = true;
#elif defined(PLAIN_REVOKE)
	atomic { slot[SLOT(c)] = FREE; ours = false; strangers = true };
#else
	atomic {
		if
		:: slot[SLOT(c)] == RESERVED ->
			slot[SLOT(c)] = FREE; ours = false; strangers = true
		:: else -> ours = true
		fi
	}
#endif
}

inline adopt(c)
{
	open_pidfd(c, !reaped[c]);
	if
	:: room -> atomic { watched[c] = true; worker[j] = c; answer[j] = STARTED }
#ifndef NO_BURY
	:: !room && !reaped[c] -> bury(c); answer[j] = FAILED
	:: !room && reaped[c] -> answer[j] = FAILED
#else
	:: else -> answer[j] = FAILED
#endif
	fi
}

active proctype Program()
{
	byte j, c, h, got;
	bool fresh, ours, room;

	atomic {
		for (c : 0 .. CHILDREN - 1) { run Supervisor(c) }
		alive[0] = true;
		run Helper(0)
	}
	do
	:: j < JOBS ->
		c = 2 * j;
		fresh = false;
again:
		atomic { slot[SLOT(c)] = RESERVED; jobOf[c] = j }
		if
		:: alive[h]
		:: !alive[h] && fresh -> goto refused
		:: !alive[h] && !fresh ->
			atomic { h++; fresh = true; alive[h] = true; run Helper(h) }
		fi;
		if
		:: request[h] ! c
		:: atomic { !alive[h] -> goto lost }
		fi;
		if
		:: reply[h] ? got -> assert(got == c); accept(c); goto next
#ifndef ANSWER_ONLY
		:: atomic { !alive[h] && empty(reply[h]) -> skip }
#endif
		fi;
lost:
		revoke(c);
		if
		:: ours -> adopt(c); goto next
		:: !ours && !fresh -> c++; goto again
		:: else
		fi;
refused:
		atomic {
			answer[j] = FAILED;
			if :: slot[SLOT(c)] == RESERVED -> slot[SLOT(c)] = FREE :: else fi
		}
next:		j++
	:: else -> break
	od;
	alive[h] = false;
	for (j : 0 .. JOBS - 1) {
		if
		:: answer[j] == STARTED ->
			c = worker[j];
			settled[c];
			assert(ran[j] == 1 || killed[c])
		:: else ->
			assert(ran[j] == 0 || killed[2 * j] || killed[2 * j + 1]);
			assert(kills < KILLS || norooms < NOROOMS)
		fi
	}
	for (c : 0 .. CHILDREN - 1) {
		!born[c] || reaped[c];
		assert(slot[c] == FREE)
	}
}

#ifdef STRANGERS_BLIND
#define KNOWN(c) false
#else
#define KNOWN(c) (slot[SLOT(c)] == LIVE && taker[SLOT(c)] == c)
#endif

/* The supervisor, as far as one child goes: if it is watched it is settled; and of
 * those that are dead and that nobody knows, nothing is kept. */
proctype Supervisor(byte c)
{
endLook:
	do
	:: atomic { watched[c] && dead[c] ->
			reaped[c] = true; slot[SLOT(c)] = FREE; watched[c] = false;
			settled[c] = true;
			break }
#ifndef NO_STRANGERS
	:: atomic { strangers && dead[c] && !reaped[c] && !watched[c] && !KNOWN(c) };
		/* Another look, at those that are watched. */
		atomic {
			if
			:: !watched[c] -> reaped[c] = true
			:: else
			fi
		}
#endif
	od
}
