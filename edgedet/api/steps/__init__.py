"""One module for each long step that a method of `Model` begins: what is asked for, checked before anything is done."""
