import ArgumentParser
import Capsule
import Glibc
import Provisioner

/// The command: `perseid [--config FILE] NOUN VERB ...`.
struct Perseid: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "perseid",
    abstract: "A network boot appliance for clusters.",
    discussion: """
      Verbs speak to the running appliance; where none runs, they do the same work themselves.
      `--config FILE` stands anywhere; without it, $PERSEID_CONFIG, then /etc/perseid/perseid.yaml is read.
      """,
    version: "perseid \(Appliance.version)",
    subcommands: [
      Serve.self, Init.self, NodeCommand.self, GroupCommand.self, VNFSCommand.self, ModuleCommand.self,
      LeaseCommand.self, KeyCommand.self, TokenCommand.self, Watch.self, RegistryCommand.self, ChangeLog.self,
      Info.self, Doctor.self,
    ])
}

@main
enum Main {
  static func main() async {
    // A reader that goes away (`perseid node list | head`) ends the command quietly, by the write's error.
    signal(SIGPIPE, SIG_IGN)
    let arguments = inOrder(Array(CommandLine.arguments.dropFirst()))
    do {
      // Names to complete come from the appliance, which takes waiting for.
      var command = try await Perseid.asyncParseAsRoot(arguments)
      do {
        if var command = command as? any AsyncParsableCommand {
          try await command.run()
        } else {
          try command.run()
        }
      } catch let help as CleanExit {
        // A noun without a verb.
        printError(Perseid.fullMessage(for: help))
        exit(2)
      }
    } catch {
      if Perseid.exitCode(for: error) == .validationFailure, let words = unknownVerb(in: arguments) {
        printError("perseid: \(words)")
        exit(2)
      }
      exit(finish(with: error))
    }
  }

  /// Which verbs there are, where one stands that there is not.
  static func unknownVerb(in arguments: [String]) -> String? {
    var command: any ParsableCommand.Type = Perseid.self
    var path = "perseid"
    for word in arguments {
      let verbs = command.configuration.subcommands
      guard !verbs.isEmpty, !word.hasPrefix("-"), word != "help" else { return nil }
      var names: [String] = []
      var found: (any ParsableCommand.Type)?
      for verb in verbs {
        names.append(verb.configuration.commandName ?? String(describing: verb).lowercased())
        if names.last == word || verb.configuration.aliases.contains(word) { found = verb }
      }
      guard let found else {
        return "\(path) has no verb '\(word)'. It has: \(names.joined(separator: ", "))."
      }
      command = found
      path += " " + word
    }
    return nil
  }

  /// Options in front of the noun go behind the verb, which is the one to read them.
  static func inOrder(_ arguments: [String]) -> [String] {
    var moved: [String] = []
    var rest = arguments[...]
    while let first = rest.first {
      if first == "--config", rest.count >= 2 {
        moved += rest.prefix(2)
        rest = rest.dropFirst(2)
      } else if first.hasPrefix("--config=") || first == "--yes" || first == "--json" {
        moved.append(first)
        rest = rest.dropFirst()
      } else {
        break
      }
    }
    guard !rest.isEmpty else { return arguments }
    let end = rest.firstIndex(of: "--") ?? rest.endIndex
    return rest[..<end] + moved + rest[end...]
  }

  /// Says what went wrong, and returns the exit code: 1 where the appliance said no, 2 for wrong usage.
  private static func finish(with error: any Error) -> Int32 {
    if let code = error as? ExitCode { return code.rawValue }
    let code = Perseid.exitCode(for: error)
    if code == .success || code == .validationFailure {
      let message = Perseid.fullMessage(for: error)
      if code == .success {
        print(message)
      } else {
        printError(message)
      }
      return code == .success ? 0 : 2
    }
    if error is BrokenPipe { return 0 }
    if error is CancellationError {
      printError("perseid: interrupted; nothing was changed.")
      return 1
    }
    printError("perseid: \(error)")
    return isWrongUsage(error) ? 2 : 1
  }

  /// A key, a value or a name that there can be none of was misspelt, whoever noticed it.
  private static func isWrongUsage(_ error: any Error) -> Bool {
    switch error {
    case let error as ApplianceError: error.code == .invalid
    case let error as CapsuleError: error.code == .badName
    default: false
    }
  }
}
