// SPDX-License-Identifier: Apache-2.0
#include "models/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <format>
#include <system_error>

namespace asynclm {
namespace {

using Fault = HttpError::Fault;

constexpr int kMaxRedirects = 10;
constexpr std::size_t kMaxErrorBody = 4096;

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, FreeUrl>;

std::string url_part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
  std::string out = text;
  curl_free(text);
  return out;
}

bool is_loopback(std::string_view host) {
  // Names may begin with digits too; addresses have nothing else.
  const bool address = host.find_first_not_of("0123456789.") == host.npos;
  return host == "localhost" || host == "[::1]" || (address && host.starts_with("127."));
}

std::unexpected<HttpError> http_error(Fault fault, ErrorCode code, std::string message) {
  return std::unexpected(HttpError{fault, {code, std::move(message)}});
}

// Relative to `base`, if given.
Result<Url> read_url(const std::string& base, const std::string& text) {
  const UrlHandle handle(curl_url());
  if (handle == nullptr) return fail(ErrorCode::internal, "libcurl: no memory");
  if (!base.empty()) (void)curl_url_set(handle.get(), CURLUPART_URL, base.c_str(), 0);
  const CURLUcode code = curl_url_set(handle.get(), CURLUPART_URL, text.c_str(),
                                      CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE);
  if (code != CURLUE_OK) {
    return fail(ErrorCode::invalid_argument,
                std::format("'{}' is no URL: {}", text, curl_url_strerror(code)));
  }
  Url url{.text = url_part(handle.get(), CURLUPART_URL),
          .scheme = url_part(handle.get(), CURLUPART_SCHEME),
          .host = lower_case(url_part(handle.get(), CURLUPART_HOST)),
          .port = url_part(handle.get(), CURLUPART_PORT),
          .path = url_part(handle.get(), CURLUPART_PATH)};
  if (!url_part(handle.get(), CURLUPART_USER).empty()) {
    return fail(ErrorCode::invalid_argument, "a URL with a user name or password is not supported");
  }
  if (url.scheme != "https" && !(url.scheme == "http" && is_loopback(url.host))) {
    return fail(
        ErrorCode::invalid_argument,
        std::format("'{}': only https is supported (http for this machine's own servers)", text));
  }
  return url;
}

Fault fault_of(CURLcode code, bool connected) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return Fault::unreachable;
    case CURLE_OPERATION_TIMEDOUT:
      return connected ? Fault::broken : Fault::unreachable;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return Fault::refused;
    default:
      return Fault::broken;
  }
}

// One request without its redirects. libcurl's callbacks get a pointer to it.
class Transfer {
 public:
  Transfer(const HttpRequest& request, const Url& url) : request_(request) {
    reply_.url = url.text;
  }

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) {
    static_cast<Transfer*>(self)->header({data, size * count});
    return size * count;
  }

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) {
    const std::size_t bytes = size * count;
    return static_cast<Transfer*>(self)->body({data, bytes}) ? bytes : CURL_WRITEFUNC_ERROR;
  }

  // After the last byte, or instead of the first.
  [[nodiscard]] bool finish() { return announce(); }

  [[nodiscard]] HttpReply& reply() { return reply_; }
  [[nodiscard]] const std::optional<Error>& callback_error() const { return callback_error_; }

 private:
  void header(std::string_view line) {
    if (line.starts_with("HTTP/")) {  // another reply: after "100 Continue"
      reply_.headers.clear();
      reply_.status = 0;
      const auto blank = line.find(' ');
      for (std::size_t i = blank + 1; blank != line.npos && i < line.size(); ++i) {
        if (line[i] < '0' || line[i] > '9' || reply_.status > 999) break;
        reply_.status = reply_.status * 10 + (line[i] - '0');
      }
      return;
    }
    const auto colon = line.find(':');
    if (colon == line.npos) return;
    std::string_view value = line.substr(colon + 1);
    const auto from = value.find_first_not_of(" \t");
    const auto to = value.find_last_not_of(" \t\r\n");
    value = from == value.npos || to == value.npos ? "" : value.substr(from, to + 1 - from);
    reply_.headers.emplace_back(lower_case(line.substr(0, colon)), value);
  }

  bool body(std::string_view bytes) {
    if (reply_.status >= 400) {
      reply_.error_body += bytes.substr(0, kMaxErrorBody - reply_.error_body.size());
      return true;
    }
    if (!reply_.good()) return true;  // a redirect's page
    if (!announce()) return false;
    return !request_.on_body || keep(request_.on_body(bytes));
  }

  bool announce() {
    if (announced_ || !reply_.good()) return !callback_error_;
    announced_ = true;
    return !request_.on_reply || keep(request_.on_reply(reply_));
  }

  bool keep(Result<void> result) {
    if (result) return true;
    callback_error_ = std::move(result.error());
    return false;
  }

  const HttpRequest& request_;
  HttpReply reply_;
  std::optional<Error> callback_error_;
  bool announced_ = false;
};

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

}  // namespace

Result<Url> parse_url(const std::string& text) { return read_url("", text); }

std::string url_escape(std::string_view text, std::string_view kept) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").contains(c) || kept.contains(c);
    if (plain) {
      out += c;
    } else {
      out += std::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string_view HttpReply::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

bool HttpReply::transient() const {
  constexpr std::array kStatuses = {408, 429, 500, 502, 503, 504};
  return std::ranges::contains(kStatuses, status);
}

std::optional<std::chrono::seconds> HttpReply::retry_after() const {
  const std::string value(header("retry-after"));
  if (value.empty()) return std::nullopt;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error != std::errc{} || end != value.data() + value.size()) {
    const time_t date = curl_getdate(value.c_str(), nullptr);
    if (date < 0) return std::nullopt;
    seconds = date - std::time(nullptr);
  }
  return std::chrono::seconds(std::max<std::int64_t>(seconds, 0));
}

struct HttpClient::Impl {
  explicit Impl(HttpOptions given) : options(std::move(given)) {
    // Thread-safe in all libcurl that we support, and for the life of the process.
    static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (started != CURLE_OK) return;
    multi = curl_multi_init();
    easy = curl_easy_init();
  }
  ~Impl() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void set_up(const HttpRequest& request, const Url& url, bool with_token, curl_slist* headers,
              Transfer& transfer) {
    const auto set = [this](CURLoption option, auto value) {
      (void)curl_easy_setopt(easy, option, value);
    };
    curl_easy_reset(easy);
    error_text[0] = '\0';
    set(CURLOPT_ERRORBUFFER, error_text.data());
    set(CURLOPT_URL, url.text.c_str());
    set(CURLOPT_PROTOCOLS_STR, url.scheme.c_str());
    set(CURLOPT_NOBODY, request.head ? 1L : 0L);
    set(CURLOPT_HTTPHEADER, headers);
    set(CURLOPT_USERAGENT, options.user_agent.c_str());
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(CURLOPT_NOSIGNAL, 1L);
    // A resolver that hangs shall not hold up the end of the program.
    set(CURLOPT_QUICK_EXIT, 1L);
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout.count()));
    constexpr long kBuffer = 512L * 1024;
    set(CURLOPT_BUFFERSIZE, kBuffer);
    if (!options.ca_bundle.empty()) set(CURLOPT_CAINFO, options.ca_bundle.c_str());
    if (with_token) {
      set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
      set(CURLOPT_XOAUTH2_BEARER, request.token.c_str());
    }
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  }

  // Nothing: stopped.
  std::optional<CURLcode> drive(PullWatch& watch) {
    std::optional<CURLcode> done;
    if (curl_multi_add_handle(multi, easy) != CURLM_OK) return CURLE_FAILED_INIT;
    int running = 1;
    while (!done && !watch.stopped()) {
      if (curl_multi_perform(multi, &running) != CURLM_OK) done = CURLE_FAILED_INIT;
      int left = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
        if (message->msg == CURLMSG_DONE) done = message->data.result;
      }
      if (done) break;
      (void)curl_multi_poll(multi, nullptr, 0, static_cast<int>(PullWatch::kTick.count()), nullptr);
      watch.tick();
    }
    (void)curl_multi_remove_handle(multi, easy);
    return done;
  }

  [[nodiscard]] std::string explain(CURLcode code, Fault fault, const Url& url) const {
    const std::string why = error_text[0] != '\0' ? error_text.data() : curl_easy_strerror(code);
    return std::format("{}://{}{}: {}", url.scheme, url.host,
                       fault == Fault::unreachable ? " cannot be reached" : "", why);
  }

  std::expected<HttpReply, HttpError> send_once(const HttpRequest& request, const Url& url,
                                                bool with_token, PullWatch& watch) {
    curl_slist* list = nullptr;
    for (const std::string& header : request.headers) {
      list = curl_slist_append(list, header.c_str());
    }
    const std::unique_ptr<curl_slist, FreeList> headers(list);
    Transfer transfer(request, url);
    set_up(request, url, with_token, headers.get(), transfer);
    const std::optional<CURLcode> code = drive(watch);
    if (!code) return std::unexpected(HttpError{Fault::stopped, PullWatch::stop_error()});
    const bool finished = *code != CURLE_OK || transfer.finish();
    if (transfer.callback_error() || !finished) {
      return std::unexpected(HttpError{Fault::callback, *transfer.callback_error()});
    }
    if (*code != CURLE_OK) {
      curl_off_t connected = 0;
      (void)curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected);
      const Fault fault = fault_of(*code, connected > 0 || transfer.reply().status != 0);
      return http_error(fault, ErrorCode::io, explain(*code, fault, url));
    }
    return std::move(transfer.reply());
  }

  HttpOptions options;
  CURLM* multi = nullptr;
  CURL* easy = nullptr;
  std::array<char, CURL_ERROR_SIZE> error_text{};
};

HttpClient::HttpClient(HttpOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
HttpClient::~HttpClient() = default;

void HttpClient::set_connect_timeout(std::chrono::milliseconds time) {
  impl_->options.connect_timeout = time;
}

// Redirects are followed here and not by libcurl: what goes to which host is then plain to see.
std::expected<HttpReply, HttpError> HttpClient::send(const HttpRequest& request, PullWatch& watch) {
  if (impl_->multi == nullptr || impl_->easy == nullptr) {
    return http_error(Fault::refused, ErrorCode::internal, "libcurl cannot be started");
  }
  Result<Url> url = read_url("", request.url);
  if (!url) return std::unexpected(HttpError{Fault::refused, url.error()});
  const std::string first_origin = url->origin();
  for (int i = 0; i <= kMaxRedirects; ++i) {
    const bool at_home = url->origin() == first_origin;
    auto reply = impl_->send_once(request, *url, at_home && !request.token.empty(), watch);
    if (!reply) return reply;
    const std::string location(reply->header("location"));
    if (reply->status < 300 || reply->status >= 400 || location.empty()) return reply;
    Result<Url> next = read_url(url->text, location);
    if (!next) {
      return http_error(Fault::refused, ErrorCode::io,
                        std::format("{} redirects to where asynclm does not go: {}", url->host,
                                    next.error().message));
    }
    if (request.redirects == HttpRequest::Redirects::same_origin &&
        next->origin() != first_origin) {
      return reply;
    }
    url = std::move(next);
  }
  return http_error(Fault::refused, ErrorCode::io,
                    std::format("{} redirects too often", request.url));
}

}  // namespace asynclm
