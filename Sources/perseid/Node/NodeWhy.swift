import ArgumentParser
import NetworkTypes
import Provisioner

/// `perseid node why NAME`
struct NodeWhy: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "why", abstract: "Show what a node would get now, and why.")

  @Argument(help: "The node.", completion: Names.nodes)
  var node: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["nodes", node, "why"]) }

  func text(_ why: WhyView) -> String {
    var sheet = Sheet()
    sheet.add("name", why.name)
    sheet.add("mac", why.mac?.description)
    sheet.add("capsule", why.vnfs + (why.generation.map { ", generation \($0)" } ?? ", which does not exist"))
    sheet.add("digest", why.digest)
    if let strategy = why.strategy {
      sheet.add("firmware", "\(strategy.words) (\(strategy.isProven ? "it has booted so" : "being tried"))")
    }
    var heard = Sheet()
    for heardOf in why.heard {
      heard.add("asked", "\(heardOf.client), \(heardOf.at): \(heardOf.asked)")
      heard.add("answered", heardOf.answered)
      heard.add("because", heardOf.reason)
      for rule in heardOf.rules { heard.add("rule", "\(rule.name): \(rule.words) (\(rule.source))") }
    }
    var answers = Table(["IT SPEAKS AS", "IT GETS", "BECAUSE"])
    for answer in why.answers { answers.add([answer.client, answer.bootFile ?? "nothing", answer.reason]) }
    var settings = Table(["SETTING", "VALUE", "FROM"])
    for setting in why.settings { settings.add([setting.key, setting.value, setting.from]) }
    var text = [sheet.text] + (why.heard.isEmpty ? [] : [heard.text]) + [answers.text, settings.text]
    if !why.scripts.isEmpty {
      var scripts = Table(["STATE", "SCRIPT", "FROM", "MODULE", "REPLACES"])
      for script in why.scripts {
        let name = script.name + (script.onAppliance ? " (runs on the appliance)" : "")
        scripts.add([script.state, name, script.level, script.module, script.replaced.joined(separator: ", ")])
      }
      text.append(scripts.text)
    }
    if !why.files.isEmpty {
      var files = Table(["STATE", "FILE", "FROM", "MODULE", "REPLACES"])
      for file in why.files {
        files.add([file.state, file.path, file.level, file.module, file.replaced.joined(separator: ", ")])
      }
      text.append(files.text)
    }
    return text.joined(separator: "\n")
  }
}
