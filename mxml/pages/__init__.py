"""What the HTML pages share: their frame and style, formats of numbers and names, small pictures."""
