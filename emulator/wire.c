#include "emulator/wire.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "client/clock.h"

enum {
	SEND_TIMEOUT_MS = 120 * 1000, /* for a peer that does not read */
	HALF_CLOSE_MS = 60 * 1000,
	HUGE_CHUNK = 64 * 1024,
	HEAD_MAX = EMU_HEADERS_MAX * (EMU_HEADER_VALUE_MAX + 80) + 1024,
};

bool wire_wait(const struct wire *w, unsigned int ms)
{
	int64_t end = clock_mono() + ms * NS_PER_MS;

	for (;;) {
		struct pollfd p[2] = {{w->stop_fd, POLLIN, 0}, {w->fd, POLLRDHUP, 0}};
		int64_t left = end - clock_mono();
		int n;

		if (left <= 0)
			return true;
		n = poll(p, 2, (int)((left + NS_PER_MS - 1) / NS_PER_MS));
		if (n > 0 || (n < 0 && errno != EINTR))
			return false;
	}
}

void wire_reset(const struct wire *w)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	/*
	 * Dissolving the connection sends the reset now; a close would come after the end of the
	 * stream that libmicrohttpd announces first, and the peer might be content with that.
	 */
	if (setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) ||
	    connect(w->fd, &none, sizeof(none)))
		shutdown(w->fd, SHUT_RDWR);
}

/* Sends what goes without waiting: how much, or -1 with errno. */
static ssize_t send_some(const struct wire *w, const char *data, size_t len)
{
	ssize_t n;

	if (!w->tls)
		return send(w->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	n = gnutls_record_send(w->tls, data, len);
	if (n >= 0)
		return n;
	errno = n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED ? EAGAIN : EPIPE;
	return -1;
}

void wire_half_close(const struct wire *w)
{
	if (shutdown(w->fd, SHUT_WR) == 0)
		wire_wait(w, HALF_CLOSE_MS);
}

/* Sends everything, within the time a peer gets; the socket does not block. */
static bool send_all(const struct wire *w, const char *data, size_t len)
{
	while (len) {
		struct pollfd p[2] = {{w->stop_fd, POLLIN, 0}, {w->fd, POLLOUT, 0}};
		ssize_t n = send_some(w, data, len);

		if (n > 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (poll(p, 2, SEND_TIMEOUT_MS) <= 0 || p[0].revents)
			return false;
	}
	return true;
}

void wire_garbage(const struct wire *w)
{
	static const char bytes[] = "\x16\x03\x01\x02\x00 this is not HTTP\r\n\x00\xff\xfe\r\n\r\n";

	send_all(w, bytes, sizeof(bytes) - 1);
}

static bool send_head(const struct wire *w, const struct emu_reply *reply, uint64_t length)
{
	_cleanup_buf_ struct buf b = BUF_INIT(HEAD_MAX);

	buf_addf(&b, "HTTP/1.1 %d Status\r\nConnection: close\r\nContent-Length: %llu\r\n",
		 reply->status, (unsigned long long)length);
	if (reply->content_type[0])
		buf_addf(&b, "Content-Type: %s\r\n", reply->content_type);
	for (size_t i = 0; i < reply->n_headers; i++)
		buf_addf(&b, "%s: %s\r\n", reply->headers[i].name, reply->headers[i].value);
	buf_addstr(&b, "\r\n");
	return !buf_error(&b) && send_all(w, b.data, b.len);
}

void wire_reply(const struct wire *w, const struct emu_reply *reply, const struct fault *fault,
		bool head)
{
	size_t len = reply->body.len, half = len / 2;
	int64_t announced = (int64_t)(reply->head_only ? reply->content_length : len);

	announced += fault->wrong_length;
	if (!send_head(w, reply, announced < 0 ? 0 : (uint64_t)announced) || head)
		return;
	if (fault->truncate >= 0 && (uint64_t)fault->truncate < len) {
		len = (size_t)fault->truncate;
		half = len / 2;
	}
	if (!send_all(w, reply->body.data, half))
		return;
	if (fault->body_delay_ms && !wire_wait(w, fault->body_delay_ms))
		return;
	send_all(w, reply->body.data + half, len - half);
}

void wire_huge(const struct wire *w, uint64_t bytes)
{
	struct emu_reply reply = {.status = 200, .content_type = "application/json"};
	static const char begin[] = "{\"value\":[";
	char chunk[HUGE_CHUNK];

	/* White space keeps it JSON for as long as anybody cares to parse it. */
	memset(chunk, ' ', sizeof(chunk));
	memcpy(chunk, begin, sizeof(begin) - 1);
	if (!send_head(w, &reply, bytes))
		return;
	while (bytes) {
		size_t n = bytes < sizeof(chunk) ? (size_t)bytes : sizeof(chunk);

		if (!send_all(w, chunk, n))
			return;
		bytes -= n;
		memset(chunk, ' ', sizeof(begin) - 1);
	}
}
