// SPDX-License-Identifier: Apache-2.0
// From JSON Schema to the nodes of a Grammar.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "cml/call_syntax.h"
#include "cml/schema_expand.h"
#include "grammar/grammar.h"

namespace asynclm {
namespace {

constexpr std::size_t kMaxNodes = 200'000;  // of all tools
constexpr std::size_t kMaxKeys = 64;        // of an object: they are kept as bits
// Longer limits would need a state for each length; they are left to the check afterwards.
constexpr std::uint32_t kMaxCountedLength = 64;
constexpr std::uint32_t kMaxDigits = 18;  // every such number is a 64-bit integer

struct TooLarge {
  std::string why;
};

}  // namespace

class GrammarCompiler {
 public:
  explicit GrammarCompiler(const GrammarOptions& options) : options_(options) {
    g_.nodes_.push_back({.kind = Kind::never});  // 0: no node
    g_.trie_.emplace_back();                     // 0: no place
    nothing_ = add({.kind = Kind::nothing});
    comma_ = literal(options.json ? options.json->item_separator : ",");
    colon_ = literal(options.json ? options.json->key_separator : ":");
    quote_ = literal("\"");
    close_list_ = literal("]");
    close_dict_ = literal("}");
    close_key_ = sequence({quote_, colon_});
    make_character();
    g_.character_ = character_;
    string_ = sequence({quote_, repeat(character_, 0, Grammar::kUnbounded), quote_});
    digits_ = digits("0123456789");
    identifier_ = identifier(static_cast<std::uint32_t>(kMaxIdentifier) - 1);
    if (options.async_plus) {
      const Id step = choice({sequence({literal("."), identifier_}),
                              sequence({literal("["), repeat(digits_, 1, 9), close_list_})});
      const Id path = sequence({literal("$"), name(), repeat(step, 0, 32)});
      future_ = where_named(path, 0);
    }
    make_any();
  }

  void add_tool(const ToolSpec& tool, const Json& schema) {
    if (options_.json) return add_json_tool(tool, schema);
    const Id arguments = object(schema, {.open_quote = nothing_,
                                         .close_key = literal("="),
                                         .comma = comma_,
                                         .close = literal(")")});
    const Id then = sequence({literal("("), arguments});
    if (then != 0) tools_.insert_or_assign(tool.name, Text{then});
  }

  Grammar finish() {
    if (options_.json) {
      if (!tools_.empty()) g_.call_ = sequence({literal(options_.json->before_name), trie(tools_)});
      return std::move(g_);
    }
    const std::string cancel(kCancelFunction);
    // The model withdraws a call; a tool of that name stands before it.
    Id code = tools_.empty() ? Id{0} : trie(tools_);  // 0: nothing can be called
    if (options_.async_plus && code != 0 && !tools_.contains(cancel)) {
      const Id open = add({.kind = Kind::name, .min = 1});
      code = choice({code, where_named(sequence({literal(cancel + "("), open, literal(")")}), 1)});
    }
    const Id head = marker(Marker::head), end = marker(Marker::end);
    // Of any length, so that it is one state, which is asked about in every call.
    Id id = identifier(Grammar::kUnbounded);
    if (options_.async_plus) {
      const Id another = sequence({literal(" "), name()});
      const Id after = sequence({literal(" after"), repeat(another, 1, Grammar::kUnbounded)});
      id = sequence({id, choice({nothing_, where_named(after, 0)})});
      const Id ids = sequence({name(), repeat(another, 0, Grammar::kUnbounded)});
      const Id which = choice({literal("any"), literal("all")});
      g_.trap_ = choice({end, where_named(sequence({ids, head, which, end}), 0)});
    }
    g_.call_ = sequence({id, head, code, end});
    if (options_.anonymous_calls) g_.call_ = choice({g_.call_, sequence({code, end})});
    return std::move(g_);
  }

 private:
  using Id = Grammar::NodeId;
  using Kind = Grammar::Kind;

  void add_json_tool(const ToolSpec& tool, const Json& schema) {
    const JsonCallForm& form = *options_.json;
    const Id then = sequence({literal(form.before_arguments), literal("{"),
                              object(schema, dict_shape()), literal(form.after_arguments)});
    const std::string quoted = Json(tool.name).dump();
    if (then != 0) tools_.insert_or_assign(quoted.substr(1, quoted.size() - 2), Text{then});
  }
  // Of a trie: what follows a text, and in an object the number of its key.
  struct Text {
    Id then = 0;
    std::uint8_t key = 0;
  };
  using Texts = std::map<std::string, Text>;

  Id add(Grammar::Node node) {
    if (g_.nodes_.size() >= kMaxNodes) throw TooLarge{"has too many parts for a grammar"};
    g_.nodes_.push_back(node);
    return static_cast<Id>(g_.nodes_.size() - 1);
  }
  std::uint32_t child_list(const std::vector<Id>& children) {
    const auto first = static_cast<std::uint32_t>(g_.children_.size());
    g_.children_.insert(g_.children_.end(), children.begin(), children.end());
    return first;
  }
  // What cannot be written at all is node 0, and so is what needs it: no model is led into it.
  Id sequence(const std::vector<Id>& parts) {
    if (std::ranges::contains(parts, Id{0})) return 0;
    return add({.kind = Kind::sequence,
                .first = child_list(parts),
                .size = static_cast<std::uint32_t>(parts.size())});
  }
  Id choice(std::vector<Id> parts) {
    std::erase(parts, Id{0});
    if (parts.empty()) return 0;
    if (parts.size() == 1) return parts.front();
    return add({.kind = Kind::choice,
                .first = child_list(parts),
                .size = static_cast<std::uint32_t>(parts.size())});
  }
  // `part` must not match the empty text.
  // With at most `more` characters after the first.
  Id identifier(std::uint32_t more) {
    return sequence({letter(), repeat(choice({letter(), digits_}), 0, more)});
  }

  // Of an earlier call.
  Id name() { return add({.kind = Kind::name}); }
  // open: 1 if there must be a call that has not ended.
  Id where_named(Id part, std::uint32_t open) {
    return add({.kind = Kind::named, .first = child_list({part}), .size = 1, .min = open});
  }

  Id repeat(Id part, std::uint32_t min, std::uint32_t max) {
    if (max == 0 || (part == 0 && min == 0)) return nothing_;
    if (part == 0) return 0;
    return add(
        {.kind = Kind::repeat, .first = child_list({part}), .size = 1, .min = min, .max = max});
  }
  Id literal(std::string_view text) {
    if (text.empty()) return nothing_;
    const auto first = static_cast<std::uint32_t>(g_.literals_.size());
    for (const char c : text) g_.literals_.push_back(static_cast<unsigned char>(c));
    return add(
        {.kind = Kind::literal, .first = first, .size = static_cast<std::uint32_t>(text.size())});
  }
  Id marker(Marker which) {
    const auto first = static_cast<std::uint32_t>(g_.literals_.size());
    g_.literals_.push_back(symbol_of(which));
    return add({.kind = Kind::literal, .first = first, .size = 1});
  }
  Id range(int first, int last, std::string_view without = {}) {
    std::bitset<256> set;
    for (int byte = first; byte <= last; ++byte) set.set(static_cast<std::size_t>(byte));
    for (const char c : without) set.reset(static_cast<unsigned char>(c));
    g_.sets_.push_back(set);
    return add({.kind = Kind::bytes, .first = static_cast<std::uint32_t>(g_.sets_.size() - 1)});
  }
  Id digits(std::string_view allowed) {
    std::bitset<256> set;
    for (const char c : allowed) set.set(static_cast<unsigned char>(c));
    g_.sets_.push_back(set);
    return add({.kind = Kind::bytes, .first = static_cast<std::uint32_t>(g_.sets_.size() - 1)});
  }
  Id letter() { return digits("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"); }

  // One character of a string: well-formed UTF-8, or an escape that JSON and Python share.
  void make_character() {
    const Id more = range(0x80, 0xBF);
    const Id hex = digits("0123456789abcdefABCDEF");
    // Surrogates come in pairs.
    const Id other = digits("0123456789abcefABCEF");
    const Id unicode = choice({sequence({other, hex, hex, hex}),
                               sequence({digits("dD"), digits("01234567"), hex, hex}),
                               sequence({digits("dD"), digits("89abAB"), hex, hex, literal("\\u"),
                                         digits("dD"), digits("cdefCDEF"), hex, hex})});
    const Id escape = sequence(
        {literal("\\"), choice({digits("\"\\/bfnrt"), sequence({literal("u"), unicode})})});
    character_ = choice({range(0x20, 0x7F, "\"\\"), escape, sequence({range(0xC2, 0xDF), more}),
                         sequence({literal("\xE0"), range(0xA0, 0xBF), more}),
                         sequence({range(0xE1, 0xEF, "\xED"), more, more}),
                         sequence({literal("\xED"), range(0x80, 0x9F), more}),
                         sequence({literal("\xF0"), range(0x90, 0xBF), more, more}),
                         sequence({range(0xF1, 0xF3), more, more, more}),
                         sequence({literal("\xF4"), range(0x80, 0x8F), more, more})});
  }

  // --- values ---

  // Any value. It refers to itself: the node is there before what it is.
  void make_any() {
    any_ = add({.kind = Kind::choice});
    const Id list = array_of({any_}, 0, Grammar::kUnbounded);
    Grammar::Object free = dict_shape();
    free.additional_key = repeat(character_, 0, Grammar::kUnbounded);
    free.additional_value = any_;
    dict_ = sequence({literal("{"), members(free)});
    std::vector<Id> kinds = {string_, number(false), boolean(), literal_of(nullptr), list, dict_};
    if (future_ != 0) kinds.push_back(future_);
    const std::uint32_t first = child_list(kinds);
    g_.nodes_[any_].first = first;
    g_.nodes_[any_].size = static_cast<std::uint32_t>(kinds.size());
  }

  // A dict in either language; a Python call has other signs around its arguments.
  [[nodiscard]] Grammar::Object dict_shape() const {
    return {.open_quote = quote_, .close_key = close_key_, .comma = comma_, .close = close_dict_};
  }

  Id value(const Json& schema) {
    const Id plain = plain_value(schema);
    return future_ == 0 || plain == any_ ? plain : choice({plain, future_});
  }

  Id plain_value(const Json& schema) {
    if (schema.is_boolean()) return schema.get<bool>() ? any_ : Id{0};
    if (schema.contains("const")) return literal_of(schema["const"]);
    if (schema.contains("enum")) return literals(schema["enum"]);
    const bool own =
        schema.contains("type") || schema.contains("properties") || schema.contains("items");
    if (!own) {
      for (const char* keyword : {"anyOf", "oneOf"}) {
        if (!schema.contains(keyword)) continue;
        std::vector<Id> branches;
        for (const Json& branch : schema[keyword]) branches.push_back(plain_value(branch));
        return choice(branches);
      }
    }
    if (schema.contains("allOf")) return plain_value(merged(schema));
    std::vector<Id> kinds;
    for (const std::string& type : types(schema)) kinds.push_back(of_type(schema, type));
    return kinds.empty() ? any_ : choice(kinds);
  }

  // What all parts of an "allOf" say of types, names and choices; where two differ, the first.
  static Json merged(const Json& schema) {
    Json out = schema;
    out.erase("allOf");
    for (const Json& part : schema["allOf"]) {
      if (!part.is_object()) continue;
      const Json flat = part.contains("allOf") ? merged(part) : part;
      for (const auto& [key, item] : flat.items()) {
        if (key == "properties" && out.contains(key)) {
          for (const auto& [name, child] : item.items()) out[key].emplace(name, Json(child));
        } else if (key == "required" && out.contains(key)) {
          for (const Json& name : item) out[key].push_back(name);
        } else {
          out.emplace(key, Json(item));
        }
      }
    }
    return out;
  }

  static std::vector<std::string> types(const Json& schema) {
    if (!schema.contains("type")) {
      if (schema.contains("properties")) return {"object"};
      if (schema.contains("items")) return {"array"};
      return {};
    }
    const Json& type = schema["type"];
    if (type.is_string()) return {type.get<std::string>()};
    auto list = type.get<std::vector<std::string>>();
    if (std::ranges::contains(list, "number")) std::erase(list, "integer");
    return list;
  }

  Id of_type(const Json& schema, const std::string& type) {
    if (type == "null") return literal_of(nullptr);
    if (type == "boolean") return boolean();
    if (type == "integer") return integer(schema);
    if (type == "number") {
      const bool positive = schema.contains("minimum") && schema["minimum"].get<double>() >= 0;
      return number(positive);
    }
    if (type == "string") return string(schema);
    if (type == "array") return array(schema);
    if (!schema.contains("properties") && !schema.contains("additionalProperties")) return dict_;
    return sequence({literal("{"), object(schema, dict_shape())});
  }

  Id boolean() { return literals(Json::array({true, false})); }

  Id literal_of(const Json& constant) { return literal(spelled(constant)); }

  // JSON text with the form's separators.
  [[nodiscard]] std::string json_text(const Json& value) const {
    if (!value.is_structured()) return value.dump();
    std::string out = value.is_object() ? "{" : "[";
    for (const auto& [key, child] : value.items()) {
      if (out.size() > 1) out += options_.json->item_separator;
      if (value.is_object()) out += Json(key).dump() + options_.json->key_separator;
      out += json_text(child);
    }
    return out + (value.is_object() ? "}" : "]");
  }

  [[nodiscard]] std::string spelled(const Json& constant) const {
    if (options_.json) return json_text(constant);
    // As the only argument of a call, whose spelling is known.
    const std::string call = format_call("f", Json{{"x", constant}});
    return call.substr(4, call.size() - 5);
  }

  Id literals(const Json& constants) {
    if (constants.size() == 1) return literal_of(constants[0]);
    Texts texts;
    for (const Json& constant : constants) texts.emplace(spelled(constant), Text{nothing_});
    return trie(texts);
  }

  Id positive_digits() {
    return sequence({digits("123456789"), repeat(digits_, 0, kMaxDigits - 1)});
  }

  Id integer(const Json& schema) {
    constexpr std::int64_t kLimit = 999'999'999'999'999'999;  // kMaxDigits nines
    const auto clamped = [](double bound) {
      return static_cast<std::int64_t>(
          std::clamp(bound, -static_cast<double>(kLimit), static_cast<double>(kLimit)));
    };
    std::int64_t low = -kLimit, high = kLimit;
    const auto raise = [&](const Json& bound, int beyond) {
      const std::int64_t least =
          bound.is_number_integer()
              ? std::clamp(bound.get<std::int64_t>(), -kLimit, kLimit) + beyond
              : clamped(beyond != 0 ? std::floor(bound.get<double>()) + 1
                                    : std::ceil(bound.get<double>()));
      low = std::max(low, least);
    };
    const auto lower = [&](const Json& bound, int beyond) {
      const std::int64_t most =
          bound.is_number_integer()
              ? std::clamp(bound.get<std::int64_t>(), -kLimit, kLimit) - beyond
              : clamped(beyond != 0 ? std::ceil(bound.get<double>()) - 1
                                    : std::floor(bound.get<double>()));
      high = std::min(high, most);
    };
    if (schema.contains("minimum")) raise(schema["minimum"], 0);
    if (schema.contains("exclusiveMinimum")) raise(schema["exclusiveMinimum"], 1);
    if (schema.contains("maximum")) lower(schema["maximum"], 0);
    if (schema.contains("exclusiveMaximum")) lower(schema["exclusiveMaximum"], 1);
    if (low > high) return 0;
    // Only real bounds are counted: states that hold a number's digits are many.
    if (high == kLimit && low <= 1 && (low >= 0 || low == -kLimit)) {
      const Id positive = positive_digits();
      if (low == 1) return positive;
      const Id natural = choice({literal("0"), positive});
      return low == 0 ? natural : choice({natural, sequence({literal("-"), positive})});
    }
    g_.bounds_.push_back(low);
    g_.bounds_.push_back(high);
    return add({.kind = Kind::integer, .first = static_cast<std::uint32_t>(g_.bounds_.size() - 2)});
  }

  Id number(bool positive) {
    const Id whole = choice({literal("0"), positive_digits()});
    const Id fraction =
        choice({nothing_, sequence({literal("."), repeat(digits_, 1, kMaxDigits)})});
    const Id exponent =
        choice({nothing_,
                sequence({digits("eE"), choice({nothing_, digits("+-")}), repeat(digits_, 1, 2)})});
    const Id magnitude = sequence({whole, fraction, exponent});
    return positive ? magnitude : choice({magnitude, sequence({literal("-"), magnitude})});
  }

  // A count that the schema names, as far as it is enforced.
  static std::uint32_t limit(const Json& schema, const char* keyword, std::uint32_t otherwise) {
    if (!schema.contains(keyword)) return otherwise;
    const auto count = schema[keyword].get<std::uint64_t>();
    return count > kMaxCountedLength ? otherwise : static_cast<std::uint32_t>(count);
  }

  Id string(const Json& schema) {
    const std::uint32_t min = limit(schema, "minLength", 0);
    const std::uint32_t max = limit(schema, "maxLength", Grammar::kUnbounded);
    if (min == 0 && max == Grammar::kUnbounded) return string_;
    if (min > max) return 0;
    return sequence({quote_, repeat(character_, min, max), quote_});
  }

  Id array_of(std::vector<Id> values, std::uint32_t min, std::uint32_t max) {
    // A place that nothing can take ends the array.
    const auto end = std::ranges::find(values, Id{0});
    max =
        std::min(max, end == values.end() ? max : static_cast<std::uint32_t>(end - values.begin()));
    values.erase(end, values.end());
    if (min > max) return 0;
    if (values.empty()) return literal("[]");
    g_.arrays_.push_back({.first = child_list(values),
                          .size = static_cast<std::uint32_t>(values.size()),
                          .min = min,
                          .max = max,
                          .comma = comma_,
                          .close = close_list_});
    const Id rest =
        add({.kind = Kind::items, .first = static_cast<std::uint32_t>(g_.arrays_.size() - 1)});
    return sequence({literal("["), rest});
  }

  Id array(const Json& schema) {
    const std::uint32_t min = limit(schema, "minItems", 0);
    std::uint32_t max = limit(schema, "maxItems", Grammar::kUnbounded);
    std::vector<Id> values;
    if (!schema.contains("items")) {
      values = {any_};
    } else if (!schema["items"].is_array()) {
      values = {value(schema["items"])};
    } else {
      for (const Json& place : schema["items"]) values.push_back(value(place));
      const Json further = schema.value("additionalItems", Json(true));
      if (further == Json(false)) {
        max = std::min(max, static_cast<std::uint32_t>(values.size()));
      } else {
        values.push_back(value(further));
      }
      if (values.empty()) values = {any_};
    }
    return min > max ? Id{0} : array_of(values, min, max);
  }

  // --- names ---

  // What follows the opening bracket of an object, up to and with the closing one.
  Id object(const Json& schema, Grammar::Object shape) {
    shape.canonical_order = options_.canonical_order;
    static const Json none = Json::object();
    const Json& properties = schema.contains("properties") ? schema["properties"] : none;
    if (properties.size() > kMaxKeys) {
      throw TooLarge{"has an object with more than " + std::to_string(kMaxKeys) + " properties"};
    }
    // What stands between the brackets of a Python call is a name.
    const bool named = shape.open_quote == nothing_;
    Texts keys;
    std::map<std::string, std::uint8_t> numbers;
    for (const auto& [name, child] : properties.items()) {
      const auto number = static_cast<std::uint8_t>(numbers.size());
      numbers.emplace(name, number);
      const Id then = value(child);
      if (then == 0 || (named && !is_identifier(name))) continue;  // it cannot be given
      const std::string quoted = Json(name).dump();
      keys.emplace(quoted.substr(1, quoted.size() - 2), Text{then, number});
      shape.all |= std::uint64_t{1} << number;
    }
    for (const Json& name : schema.value("required", Json::array())) {
      const auto known = numbers.find(name.get<std::string>());
      if (known == numbers.end()) continue;
      shape.required |= std::uint64_t{1} << known->second;
    }
    if ((shape.required & ~shape.all) != 0) return 0;
    if (shape.open_quote == quote_ && schema.contains("additionalProperties") &&
        schema["additionalProperties"] != Json(false)) {
      shape.additional_key = repeat(character_, 0, Grammar::kUnbounded);
      shape.additional_value = value(schema["additionalProperties"]);
    }
    return members(shape, keys);
  }

  Id members(Grammar::Object shape, const Texts& keys = {}) {
    const auto entry = static_cast<std::uint32_t>(g_.objects_.size());
    const Id rest = add({.kind = Kind::members, .first = entry});
    if (!keys.empty()) {
      // match_trie() finds the object by `size` and the rest of it by `min`.
      shape.keys =
          add({.kind = Kind::trie, .first = trie_root(keys), .size = entry + 1, .min = rest});
    }
    g_.objects_.push_back(shape);
    return rest;
  }

  Id trie(const Texts& texts) { return add({.kind = Kind::trie, .first = trie_root(texts)}); }

  std::uint32_t trie_root(const Texts& texts) {
    const std::uint32_t root = new_place(0);
    for (const auto& [text, end] : texts) {
      const std::uint64_t bit = std::uint64_t{1} << end.key;
      std::uint32_t at = root;
      for (const char c : text) {
        at = child_of(at, static_cast<std::uint8_t>(c));
        g_.trie_[at].below |= bit;
      }
      g_.trie_[at].then = end.then;
      g_.trie_[at].key = end.key;
    }
    return root;
  }

  std::uint32_t new_place(std::uint8_t byte) {
    if (g_.trie_.size() >= kMaxNodes) throw TooLarge{"has too many names for a grammar"};
    g_.trie_.push_back({.byte = byte});
    return static_cast<std::uint32_t>(g_.trie_.size() - 1);
  }

  // Texts come sorted, so the child for a byte, if it is there, is the newest.
  std::uint32_t child_of(std::uint32_t at, std::uint8_t byte) {
    const std::uint32_t newest = g_.trie_[at].child;
    if (newest != 0 && g_.trie_[newest].byte == byte) return newest;
    const std::uint32_t place = new_place(byte);
    g_.trie_[place].sibling = newest;
    g_.trie_[at].child = place;
    return place;
  }

  GrammarOptions options_;
  Grammar g_;
  Texts tools_;  // what follows each name
  Id nothing_ = 0, comma_ = 0, colon_ = 0, quote_ = 0, close_list_ = 0, close_dict_ = 0,
     close_key_ = 0, character_ = 0, string_ = 0, digits_ = 0, identifier_ = 0, future_ = 0,
     any_ = 0, dict_ = 0;
};

Result<Grammar> Grammar::compile(const std::vector<ToolSpec>& tools,
                                 const GrammarOptions& options) {
  GrammarCompiler compiler(options);
  for (const ToolSpec& tool : tools) {
    const std::string prefix = "tool " + schema::shown(tool.name) + ": ";
    const auto expanded = schema::expand(tool.parameters);
    if (!expanded) return fail(expanded.error().code, prefix + expanded.error().message);
    try {
      compiler.add_tool(tool, *expanded);
    } catch (const TooLarge& large) {
      return fail(ErrorCode::limit_exceeded, prefix + "its schema " + large.why);
    } catch (const Json::exception& e) {
      return fail(ErrorCode::invalid_argument, prefix + "its schema is not usable: " + e.what());
    }
  }
  try {
    return compiler.finish();
  } catch (const TooLarge& large) {
    return fail(ErrorCode::limit_exceeded, std::string("the tool list ") + large.why);
  }
}

}  // namespace asynclm
