/** What is wrong with a value, as the end of a sentence, with what to write instead. */
export class Fault {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
