#include "client/auth_token.h"

#include <curl/curl.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/asset_json.h"
#include "client/clock.h"
#include "client/jsonwipe.h"

void auth_token_clear(struct auth_token *t)
{
	buf_wipe(&t->value);
	buf_wipe(&t->refresh);
	*t = (struct auth_token){0};
}

/* ---- JSON that holds secrets ---- */

int auth_json_parse(const char *text, size_t len, cJSON **out, struct err *e)
{
	int rc = asset_json_parse(text, len, out, NULL);

	if (!rc && !cJSON_IsObject(*out)) {
		json_wipe(*out);
		rc = -EBADMSG;
	}
	if (rc)
		*out = NULL;
	return rc ? err_set(e, rc, "the answer is no JSON object") : 0;
}

const char *auth_json_text(const cJSON *json, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

	return text ? text : "";
}

/* ---- times ---- */

int64_t auth_answer_time(const struct http_response *r)
{
	const char *date = http_response_header(r, "Date");
	time_t at = date ? curl_getdate(date, NULL) : -1;

	return at > 0 ? (int64_t)at : clock_wall() / NS_PER_S;
}

/* A member that is a number, or a text that is one; NAN when it is neither. */
static double number_of(const cJSON *json, const char *name)
{
	const cJSON *item = name ? cJSON_GetObjectItemCaseSensitive(json, name) : NULL;
	char *end;
	double d;

	if (cJSON_IsNumber(item))
		return isfinite(item->valuedouble) ? item->valuedouble : NAN;
	if (!cJSON_IsString(item) || !item->valuestring[0])
		return NAN;
	d = strtod(item->valuestring, &end);
	return *end || !isfinite(d) ? NAN : d;
}

static double epoch_of(int year, int month, int day, int hour, int minute, int second)
{
	struct tm tm = {.tm_year = year - 1900,
			.tm_mon = month - 1,
			.tm_mday = day,
			.tm_hour = hour,
			.tm_min = minute,
			.tm_sec = second};

	if (year < 1970 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31)
		return NAN;
	return (double)timegm(&tm);
}

/*
 * The dates of the older App Service: "MM/DD/YYYY HH:MM:SS +00:00" on Linux, "M/D/YYYY h:MM:SS AM
 * +00:00" on Windows. Source: auth.md section 3.
 */
static double american_date(const char *text)
{
	int month, day, year, hour, minute, second, used = 0;

	if (sscanf(text, "%2d/%2d/%4d %2d:%2d:%2d %n", &month, &day, &year, &hour, &minute, &second,
		   &used) != 6 ||
	    !used)
		return NAN;
	text += used;
	if (strncmp(text, "AM ", 3) == 0 || strncmp(text, "PM ", 3) == 0) {
		hour = hour % 12 + (*text == 'P' ? 12 : 0);
		text += 3;
	}
	return strcmp(text, "+00:00") == 0 ? epoch_of(year, month, day, hour, minute, second) : NAN;
}

/* The Azure CLI's local time. */
static double local_date(const char *text)
{
	struct tm tm = {.tm_isdst = -1};
	int used = 0;
	time_t at;

	if (sscanf(text, "%4d-%2d-%2d%*1[ T]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 6 ||
	    !used)
		return NAN;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	at = mktime(&tm);
	return at == (time_t)-1 ? NAN : (double)at;
}

static double date_of(const cJSON *json, const char *name, double (*parse)(const char *text))
{
	const char *text =
		name ? cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name)) : NULL;

	return text ? parse(text) : NAN;
}

/* Seconds that the token still lives; NAN when the answer does not say. */
static double life_of(const cJSON *json, const struct auth_token_names *names, int64_t now)
{
	double in = number_of(json, names->in), on = number_of(json, names->on), left;

	if (isnan(on))
		on = date_of(json, names->on, american_date);
	if (isnan(on))
		on = date_of(json, names->date, local_date);
	left = on - (double)now;
	if (isnan(in))
		return left > 0 ? left : NAN; /* past already: the clock is wrong, not the token */
	/* A managed identity gives the same token for hours, some with the seconds from its start.
	 */
	return left > 0 && left < in ? left : in;
}

void auth_token_set_life(struct auth_token *t, int64_t asked, double life, double refresh_in)
{
	double ahead = life / 4 < AUTH_AHEAD_S ? life / 4 : AUTH_AHEAD_S;

	if (life > AUTH_LIFE_MAX_S)
		life = AUTH_LIFE_MAX_S;
	t->expires = asked + (int64_t)(life * (double)NS_PER_S);
	t->renew = t->expires - (int64_t)(ahead * (double)NS_PER_S);
	if (refresh_in > 0 && refresh_in < life - ahead)
		t->renew = asked + (int64_t)(refresh_in * (double)NS_PER_S);
}

/* ---- the answer ---- */

static int take(struct buf *to, const char *text, struct err *e)
{
	size_t len = strlen(text);
	int rc = credential_check_token(text, len, e);

	if (rc)
		return rc;
	to->max = CREDENTIAL_TOKEN_MAX;
	rc = buf_add(to, text, len);
	return rc ? err_set(e, rc, "no memory for the access token") : 0;
}

int auth_token_parse_json(const cJSON *json, const struct auth_token_names *names, int64_t asked,
			  int64_t now, struct auth_token *out, struct err *e)
{
	const char *text =
		cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, names->token));
	const char *refresh =
		cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "refresh_token"));
	double refresh_in = number_of(json, "refresh_in");
	double life;

	if (!text)
		return err_set(e, -EBADMSG, "the answer holds no access token");
	life = life_of(json, names, now);
	if (isnan(life))
		life = AUTH_LIFE_UNKNOWN_S;
	if (life <= 0)
		return err_set(e, -EBADMSG, "the access token that was given has run out already");
	if (take(&out->value, text, NULL) ||
	    (refresh && *refresh && take(&out->refresh, refresh, NULL))) {
		auth_token_clear(out);
		return err_set(e, -EBADMSG, "the answer holds no usable access token");
	}
	auth_token_set_life(out, asked, life, isnan(refresh_in) ? 0 : refresh_in);
	return 0;
}

int auth_token_parse(const struct http_response *r, int64_t asked, struct auth_token *out,
		     struct err *e)
{
	static const struct auth_token_names names = {
		.token = "access_token", .in = "expires_in", .on = "expires_on"};
	cJSON *json = NULL;
	int rc = auth_json_parse(buf_str(&r->body), r->body.len, &json, e);

	if (!rc)
		rc = auth_token_parse_json(json, &names, asked, auth_answer_time(r), out, e);
	json_wipe(json);
	return rc;
}
