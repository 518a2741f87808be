// See completion.hpp.
//
// The three scripts work alike: the words before the cursor are followed down the tree, as far as
// they name commands, and what that command offers is offered.
#include "cli/completion.hpp"

#include <algorithm>
#include <vector>

#include <CLI/CLI.hpp>

#include <fmt/format.h>

namespace dvs::cli {
namespace {

struct Word {
  std::string text, description;
};

// A command and what may follow it.
struct Place {
  std::string path;  // "dvs cluster up"
  std::vector<Word> commands, options;
};

void add_options(const CLI::App& app, Place& place) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() || option->get_group().empty()) continue;
    for (const std::string& name : option->get_lnames()) {
      const std::string text = "--" + name;
      // Every command has its own --help.
      if (std::ranges::find(place.options, text, &Word::text) == place.options.end()) {
        place.options.push_back({text, option->get_description()});
      }
    }
  }
}

void add_places(const CLI::App& app, const CLI::App& root, const std::string& path,
                std::vector<Place>& places) {
  Place place{path, {}, {}};
  const auto is_shown = [](const CLI::App* sub) { return !sub->get_group().empty(); };
  for (const CLI::App* sub : app.get_subcommands(is_shown)) {
    place.commands.push_back({sub->get_name(), sub->get_description()});
  }
  add_options(app, place);
  if (&app != &root) add_options(root, place);
  for (const CLI::Option* option : app.get_options()) {
    // The one argument that has a fixed set of values.
    if (option->get_positional() && option->get_name() == "SHELL") {
      for (const char* shell : {"bash", "zsh", "fish"}) place.commands.push_back({shell, shell});
    }
  }
  places.push_back(std::move(place));
  for (const CLI::App* sub : app.get_subcommands(is_shown)) {
    add_places(*sub, root, path + " " + sub->get_name(), places);
  }
}

std::string quoted(std::string text, const std::string& escaped_quote) {
  for (auto at = text.find('\''); at != std::string::npos;
       at = text.find('\'', at + escaped_quote.size())) {
    text.replace(at, 1, escaped_quote);
  }
  return "'" + text + "'";
}

// A pattern of all paths but the root's: "dvs cluster"|"dvs node".
std::string path_pattern(const std::vector<Place>& places) {
  std::string pattern;
  for (const Place& place : places) {
    if (place.path.find(' ') == std::string::npos) continue;
    pattern += fmt::format("{}\"{}\"", pattern.empty() ? "" : "|", place.path);
  }
  return pattern;
}

std::string bash_script(const std::vector<Place>& places) {
  std::string text = fmt::format(
      "# bash completion for dvs\n_dvs() {{\n"
      "  local current=\"${{COMP_WORDS[COMP_CWORD]}}\" path=dvs word offered=\n"
      "  for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n"
      "    case \"$path $word\" in\n      {}) path=\"$path $word\" ;;\n    esac\n  done\n"
      "  case \"${{COMP_WORDS[COMP_CWORD-1]}}\" in\n"
      "    --dir|--socket|--dvsd) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n  esac\n"
      "  case \"$path\" in\n",
      path_pattern(places));
  for (const Place& place : places) {
    std::string offered;
    for (const Word& word : place.commands) offered += word.text + " ";
    for (const Word& word : place.options) offered += word.text + " ";
    text += fmt::format("    \"{}\") offered=\"{}\" ;;\n", place.path, offered);
  }
  return text +
         "  esac\n  COMPREPLY=($(compgen -W \"$offered\" -- \"$current\"))\n}\n"
         "complete -F _dvs dvs\n";
}

std::string zsh_words(const Place& place) {
  std::string offered;
  for (const auto* words : {&place.commands, &place.options}) {
    for (const Word& word : *words) {
      offered += " " + quoted(word.text + ":" + word.description, R"('\'')");
    }
  }
  return offered;
}

std::string zsh_script(const std::vector<Place>& places) {
  std::string text = fmt::format(
      "#compdef dvs\n_dvs() {{\n  local place=dvs word\n  local -a offered\n"
      "  for word in \"${{(@)words[2,CURRENT-1]}}\"; do\n"
      "    case \"$place $word\" in\n      {}) place=\"$place $word\" ;;\n    esac\n  done\n"
      "  case \"${{words[CURRENT-1]}}\" in\n    --dir|--socket|--dvsd) _files; return ;;\n  esac\n"
      "  case \"$place\" in\n",
      path_pattern(places));
  for (const Place& place : places) {
    text += fmt::format("    \"{}\") offered=({} ) ;;\n", place.path, zsh_words(place));
  }
  return text +
         "  esac\n  _describe dvs offered\n}\n"
         "if [ \"$funcstack[1]\" = _dvs ]; then _dvs \"$@\"; else compdef _dvs dvs; fi\n";
}

std::string fish_script(const std::vector<Place>& places) {
  std::string text =
      "# fish completion for dvs\nfunction __dvs_place\n  set -l place dvs\n"
      "  for word in (commandline -opc)[2..-1]\n    switch \"$place $word\"\n      case";
  for (const Place& place : places) {
    if (place.path.find(' ') != std::string::npos) text += fmt::format(" \"{}\"", place.path);
  }
  text +=
      "\n        set place \"$place $word\"\n    end\n  end\n  test \"$place\" = \"$argv\"\nend\n"
      "complete -c dvs -f\n";
  for (const Place& place : places) {
    for (const Word& word : place.commands) {
      text += fmt::format("complete -c dvs -n '__dvs_place {}' -a {} -d {}\n", place.path,
                          word.text, quoted(word.description, R"(\')"));
    }
    for (const Word& word : place.options) {
      text += fmt::format("complete -c dvs -n '__dvs_place {}' -l {} -d {}\n", place.path,
                          word.text.substr(2), quoted(word.description, R"(\')"));
    }
  }
  return text;
}

}  // namespace

Result<std::string> completion_script(const CLI::App& app, std::string_view shell) {
  std::vector<Place> places;
  add_places(app, app, app.get_name(), places);
  if (shell == "bash") return bash_script(places);
  if (shell == "zsh") return zsh_script(places);
  if (shell == "fish") return fish_script(places);
  return fail(Errc::invalid_argument, "completions are made for bash, zsh and fish");
}

}  // namespace dvs::cli
