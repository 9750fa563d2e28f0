import ArgumentParser
import Glibc
import Provisioner

/// What every verb accepts.
struct CommonOptions: ParsableArguments {
  @Option(
    name: .long, help: "The configuration file (default: $PERSEID_CONFIG, then /etc/perseid/perseid.yaml).",
    completion: .file(extensions: ["yaml", "yml"]))
  var config: String?

  @Flag(name: .long, help: "Answer every question with yes.")
  var yes = false

  /// The configuration file in force.
  var configurationFile: String {
    config ?? environment("PERSEID_CONFIG") ?? "/etc/perseid/perseid.yaml"
  }

  func configuration() throws -> Configuration {
    try Configuration.load(path: configurationFile)
  }

  /// Asks before something is destroyed.
  /// - Throws: `ApplianceError` where the person says no, or where there is nobody to ask.
  func confirm(_ question: String) throws {
    if yes { return }
    guard isatty(STDIN_FILENO) == 1 else {
      throw ApplianceError(
        .refused, "\(question) There is no terminal to ask on: repeat the command with --yes to do it.")
    }
    write(to: STDERR_FILENO, "\(question) [y/N] ")
    guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
      throw ApplianceError(.refused, "Nothing was changed.")
    }
  }
}

/// What verbs that show something accept besides.
struct OutputOptions: ParsableArguments {
  @Flag(name: .long, help: "Show JSON, and nothing else.")
  var json = false
}

/// A variable of the environment; empty ones count as unset.
func environment(_ name: String) -> String? {
  guard let value = getenv(name) else { return nil }
  let text = String(cString: value)
  return text.isEmpty ? nil : text
}
