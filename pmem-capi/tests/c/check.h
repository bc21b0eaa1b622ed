/* Cases that run each in a process of their own, and may be expected to abort. */
#ifndef CHECK_H
#define CHECK_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

#define CHECK(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
			failures++; \
		} \
	} while (0)

#define CHECK_EQ(found, wanted) \
	do { \
		unsigned long long f_ = (unsigned long long)(found), w_ = (unsigned long long)(wanted); \
		if (f_ != w_) { \
			fprintf(stderr, "%s:%d: %s is %llu, not %llu\n", __FILE__, __LINE__, #found, f_, w_); \
			failures++; \
		} \
	} while (0)

/* What follows has to abort; what went before has to be so. */
#define MUST_ABORT() \
	do { \
		if (failures) \
			_exit(1); \
		fflush(stderr); \
		if (freopen("/dev/null", "w", stderr) == NULL) \
			_exit(1); \
		expected = 1; \
		if (write(expected_pipe[1], "a", 1) != 1) \
			_exit(1); \
	} while (0)

static int expected, expected_pipe[2];

struct check_case {
	const char *name;
	void (*run)(void);
};

/* Runs all cases, or in this process the one that is named by the environment: for debuggers. */
static int check_all(const struct check_case *cases, size_t n)
{
	const char *only = getenv("CASE");
	int failed = 0, passed = 0;
	for (size_t i = 0; i < n; i++) {
		int status = 0;
		char byte;
		if (only != NULL) {
			if (strcmp(only, cases[i].name) == 0) {
				cases[i].run();
				return failures != 0;
			}
			continue;
		}
		if (pipe(expected_pipe) != 0)
			return 2;
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			cases[i].run();
			/* Not exit(): what a child did not free is looked at in the case's own process only. */
			exit(expected ? 3 : failures != 0);
		}
		close(expected_pipe[1]);
		waitpid(pid, &status, 0);
		int wanted = read(expected_pipe[0], &byte, 1) == 1;
		close(expected_pipe[0]);
		int ok = wanted ? WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT : WIFEXITED(status) && WEXITSTATUS(status) == 0;
		if (ok)
			passed++;
		else {
			failed++;
			printf("%s: FAILED (status %#x)\n", cases[i].name, (unsigned)status);
		}
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}

#endif
