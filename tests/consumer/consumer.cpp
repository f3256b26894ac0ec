// SPDX-License-Identifier: MIT
// The same from C++: the headers are extern "C", and primitives are plain
// structs that may be members.
#include <cstdio>

#include <freethreading.h>

struct Counter {
	ft_lock lock;
	long value;
};

static int add(void *arg)
{
	Counter *counter = static_cast<Counter *>(arg);

	for (int i = 0; i < 1000; i++) {
		int rc = ft_lock_acquire(&counter->lock, FT_FOREVER);
		if (rc)
			return rc;
		counter->value++;
		ft_lock_release(&counter->lock);
	}
	return 0;
}

int main()
{
	Counter counter = {};
	ft_worker *workers[4] = {};
	ft_worker_options options = {};
	int rc = ft_lock_init(&counter.lock, FT_PRIVATE);

	options.size = sizeof(options);
	options.kind = FT_WORKER_THREAD;
	for (auto &worker : workers)
		if (!rc)
			rc = ft_worker_start(&worker, &options, add, &counter);
	for (auto &worker : workers)
		if (!rc)
			rc = ft_worker_join(worker, FT_FOREVER);
	for (auto &worker : workers)
		if (!rc)
			rc = ft_worker_free(worker);
	std::printf("C++, 4 threads counted to %ld: %s\n", counter.value, ft_strerror(rc));
	return rc != 0 || counter.value != 4000;
}
